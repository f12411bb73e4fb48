/**
 * Byte strings: a JavaScript string in which every character is one byte, 0 to 255. Xenstore paths, values and tokens and a
 * console's backlog are arbitrary bytes; as strings they compare, split, key a Map and go through JSON unchanged.
 * Rule of use: text a person wrote passes through `fromText` and `toText` (UTF-8); bytes of a ring through the other two.
 */

/** The byte string of `bytes`. */
export function fromBytes(bytes: Uint8Array): string {
  let result = ''
  // In pieces: the arguments of one call travel over the stack.
  for (let at = 0; at < bytes.length; at += 4096) result += String.fromCharCode(...bytes.subarray(at, at + 4096))
  return result
}

/** The bytes of a byte string. */
export function toBytes(byteString: string): Uint8Array {
  const bytes = new Uint8Array(byteString.length)
  for (let at = 0; at < bytes.length; at++) bytes[at] = byteString.charCodeAt(at)
  return bytes
}

/** The UTF-8 encoding of `text`, as a byte string. */
export function fromText(text: string): string {
  return fromBytes(new TextEncoder().encode(text))
}

/** The text that a byte string encodes in UTF-8; what is not UTF-8 reads as U+FFFD. */
export function toText(byteString: string): string {
  return new TextDecoder().decode(toBytes(byteString))
}
