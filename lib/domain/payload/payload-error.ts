/** What a decompressor finds wrong; the message is a clause without subject, such as `is cut off`. */
export class PayloadError extends Error {
  override readonly name = 'PayloadError'
}
