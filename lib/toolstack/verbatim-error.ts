/**
 * An operator's error whose text is fixed by others: Xen's xl prints it so and scripts match it, or it begins with its own place in a
 * file. It is shown as it is; every other OperatorError gets "xl: <command>:" before it.
 */
import {OperatorError} from '../base/errors.js'

/** Shown without anything before it. */
export class VerbatimError extends OperatorError {}
