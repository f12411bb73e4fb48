/**
 * The head of a request ring, as block and network devices share it: four free-running indices, then slots. A request and the
 * response that follows it use the same slots.
 *
 *   0   req_prod, req_event, rsp_prod, rsp_event
 *   64  slot 0, slot 1, …
 *
 * Source: public/io/ring.h (DEFINE_RING_TYPES).
 */
import {struct, u32} from '../../base/struct.js'

/** The indices at the start of the ring's first page. */
export const RingHeader = struct({reqProd: u32, reqEvent: u32, rspProd: u32, rspEvent: u32})

/** Offset of slot 0. */
export const ringSlotsOffset = 64
