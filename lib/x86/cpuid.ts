/**
 * What the processor says of itself: CPUID leaves and the features behind them. A feature that is not listed here is not decoded: its
 * instructions raise #UD.
 *
 * Source: SDM vol. 2A CPUID, AMD APM vol. 3 appendix E.
 */

/** Features by the leaf and register that announce them. Baseline features of x86-64 need no entry in `offered`. */
// biome-ignore format: a table
const features: Record<string, {leaf: number; register: 0 | 1 | 2 | 3; bit: number}> = {
  fpu: {leaf: 1, register: 3, bit: 0}, de: {leaf: 1, register: 3, bit: 2}, tsc: {leaf: 1, register: 3, bit: 4}, msr: {leaf: 1, register: 3, bit: 5},
  pae: {leaf: 1, register: 3, bit: 6}, cx8: {leaf: 1, register: 3, bit: 8}, apic: {leaf: 1, register: 3, bit: 9}, sep: {leaf: 1, register: 3, bit: 11},
  cmov: {leaf: 1, register: 3, bit: 15}, pat: {leaf: 1, register: 3, bit: 16}, clflush: {leaf: 1, register: 3, bit: 19},
  fxsr: {leaf: 1, register: 3, bit: 24}, sse: {leaf: 1, register: 3, bit: 25}, sse2: {leaf: 1, register: 3, bit: 26},
  pclmulqdq: {leaf: 1, register: 2, bit: 1}, aes: {leaf: 1, register: 2, bit: 25},
  mmx: {leaf: 1, register: 3, bit: 23}, sse3: {leaf: 1, register: 2, bit: 0}, ssse3: {leaf: 1, register: 2, bit: 9}, sse4_1: {leaf: 1, register: 2, bit: 19},
  // CRC32 is announced with SSE4.2 but needs no vector unit.
  sse4_2: {leaf: 1, register: 2, bit: 20}, crc32: {leaf: 1, register: 2, bit: 20},
  cx16: {leaf: 1, register: 2, bit: 13},
 movbe: {leaf: 1, register: 2, bit: 22}, popcnt: {leaf: 1, register: 2, bit: 23},
 xsave: {leaf: 1, register: 2, bit: 26}, rdrand: {leaf: 1, register: 2, bit: 30}, hypervisor: {leaf: 1, register: 2, bit: 31},
  fsgsbase: {leaf: 7, register: 1, bit: 0}, bmi1: {leaf: 7, register: 1, bit: 3}, bmi2: {leaf: 7, register: 1, bit: 8}, erms: {leaf: 7, register: 1, bit: 9},
  rdseed: {leaf: 7, register: 1, bit: 18}, adx: {leaf: 7, register: 1, bit: 19}, sha: {leaf: 7, register: 1, bit: 29},
  syscall: {leaf: 0x80000001, register: 3, bit: 11}, nx: {leaf: 0x80000001, register: 3, bit: 20}, rdtscp: {leaf: 0x80000001, register: 3, bit: 27}, lm: {leaf: 0x80000001, register: 3, bit: 29},
  lahf: {leaf: 0x80000001, register: 2, bit: 0}, lzcnt: {leaf: 0x80000001, register: 2, bit: 5},
  // Nothing here runs ahead of the program: leaks by speculation do not exist, and guests need no slow detours around them.
  ssb_no: {leaf: 0x80000008, register: 1, bit: 26}, btc_no: {leaf: 0x80000008, register: 1, bit: 29}, lfence_serializing: {leaf: 0x80000021, register: 0, bit: 2},
  null_selector_clears_base: {leaf: 0x80000021, register: 0, bit: 6}, auto_ibrs: {leaf: 0x80000021, register: 0, bit: 8}, srso_no: {leaf: 0x80000021, register: 0, bit: 29},
  tsa_sq_no: {leaf: 0x80000021, register: 2, bit: 1}, tsa_l1_no: {leaf: 0x80000021, register: 2, bit: 2},
}

/** True when instructions of the feature are decoded. x87 is part of fpu. */
export function offered(feature: string): boolean {
  return feature === 'x87' || feature in features
}

/** Feature bits of AMD's leaf 0x80000001 EDX that repeat leaf 1 EDX. */
const repeatedByAmd = 0x0183f3ff

/** Family 0x19, model 0x11, stepping 1: the first with automatic IBRS. */
const signature = 0x00a10f11

const brand = 'Gastwirt software x86-64 processor'

function featureBits(leaf: number, register: number): number {
  let bits = 0
  for (const feature of Object.values(features)) {
    if (feature.leaf === leaf && feature.register === register) bits |= 1 << feature.bit
  }
  return bits
}

/** Four bytes of text as a little-endian number. */
function text(value: string, at: number): number {
  let word = 0
  for (let index = 3; index >= 0; index--) word = (word << 8) | (value.charCodeAt(at + index) || 0)
  return word
}

/** EAX EBX ECX EDX of a leaf. Leaves beyond those known give zeros. */
export function cpuFeatures(leaf: number, subleaf: number): [number, number, number, number] {
  const vendor = 'AuthenticAMD'
  switch (leaf >>> 0) {
    case 0:
      return [0x0d, text(vendor, 0), text(vendor, 8), text(vendor, 4)]
    case 1:
      // CLFLUSH line of 8 quadwords.
      return [signature, 8 << 8, featureBits(1, 2), featureBits(1, 3)]
    case 7:
      return subleaf === 0 ? [0, featureBits(7, 1), 0, 0] : [0, 0, 0, 0]
    case 0x0d:
      // x87 and SSE only: 512 bytes of legacy image and a 64-byte header.
      if (subleaf === 0) return [3, 576, 576, 0]
      return [0, 0, 0, 0]
    case 0x80000000:
      return [0x80000021, text(vendor, 0), text(vendor, 8), text(vendor, 4)]
    case 0x80000001:
      return [
        signature,
        0,
        featureBits(0x80000001, 2),
        featureBits(0x80000001, 3) | (featureBits(1, 3) & repeatedByAmd),
      ]
    case 0x80000002:
    case 0x80000003:
    case 0x80000004: {
      const at = ((leaf >>> 0) - 0x80000002) * 16
      return [text(brand, at), text(brand, at + 4), text(brand, at + 8), text(brand, at + 12)]
    }
    case 0x80000007:
      return [0, 0, 0, 0x100]
    case 0x80000008:
      // 40 physical and 48 linear address bits.
      return [0x3028, featureBits(0x80000008, 1), 0, 0]
    case 0x80000021:
      return [featureBits(0x80000021, 0), 0, featureBits(0x80000021, 2), 0]
    default:
      return [0, 0, 0, 0]
  }
}
