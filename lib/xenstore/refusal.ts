/**
 * How the store says no. A request of a guest never throws: an operation returns its result or a Refusal, and the refusal's
 * name is what goes over the wire.
 * Source: public/io/xs_wire.h (xsd_errors).
 */
import type {XsErrorName} from '../abi/io/xs-wire.js'

/** A refused request. */
export class Refusal {
  constructor(readonly name: XsErrorName) {}
}

/** One Refusal for each name: refusals carry nothing else. */
export const refuse = {
  invalid: new Refusal('EINVAL'),
  access: new Refusal('EACCES'),
  exists: new Refusal('EEXIST'),
  noEntry: new Refusal('ENOENT'),
  noSpace: new Refusal('ENOSPC'),
  noSuchCall: new Refusal('ENOSYS'),
  busy: new Refusal('EBUSY'),
  again: new Refusal('EAGAIN'),
  tooBig: new Refusal('E2BIG'),
  notPermitted: new Refusal('EPERM'),
} as const
