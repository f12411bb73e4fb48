/**
 * One domain's linear memory seen from TypeScript: the same bytes through several views. Addresses here are byte offsets in it.
 */

/** The views over a domain's shared memory. */
export interface LinearMemory {
  readonly wasm: WebAssembly.Memory
  readonly bytes: Uint8Array
  readonly view: DataView
  readonly int32: Int32Array
  readonly uint32: Uint32Array
  readonly uint64: BigUint64Array
}

/** The views over `wasm`, which never grows. */
export function linearMemory(wasm: WebAssembly.Memory): LinearMemory {
  const {buffer} = wasm
  return {
    wasm,
    bytes: new Uint8Array(buffer),
    view: new DataView(buffer),
    int32: new Int32Array(buffer),
    uint32: new Uint32Array(buffer),
    uint64: new BigUint64Array(buffer),
  }
}
