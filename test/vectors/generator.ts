/**
 * Collects groups of test vectors: from the form tables by choosing registers, memory operands, prefixes and immediates for each
 * form and operand size, or one by one for code that no table line describes (branches, strings, stack frames).
 */
import {encode, littleEndian, type MemoryWish, type Parts, placeMemory} from './encode.js'
import {type Form, operandBytes, parseForms} from './forms.js'
import {type GroupInputs, groupSeed, type InputKinds, type Patch, pinRegister} from './inputs.js'
import {Random, type ValueKind, Values} from './random.js'
import {address} from './state.js'

/** What all groups of one form share: stored once. */
export interface FormInfo {
  readonly name: string
  /** Status flags of RFLAGS that the manual leaves undefined, by name. */
  readonly undefinedFlags: readonly string[]
  /** Other parts of the state that are not compared, by name. */
  readonly ignored: readonly string[]
}

/** One group, ready to run. */
export interface Group extends GroupInputs {
  readonly form: FormInfo
  readonly code: Uint8Array
  readonly codeAddress: number
  readonly dataAddress: number
  readonly count: number
}

/** How much to make of each form. */
export interface Density {
  readonly registerGroups: number
  readonly memoryGroups: number
  readonly casesPerGroup: number
}

/** What a hand-made group says; the rest has defaults. */
export interface GroupDraft {
  readonly bits?: 64 | 32
  readonly code: readonly number[]
  readonly codeAddress?: number
  readonly dataAddress?: number
  readonly patches?: readonly Patch[]
  readonly kinds?: Partial<InputKinds>
  readonly count?: number
}

const noKinds: InputKinds = {
  xmm: Values.fixed,
  x87: Values.fixed,
  data: Values.fixed,
  stack: Values.fixed,
  mxcsr: false,
  control: false,
}

/** Where code stands unless it shall cross a page boundary. */
export const defaultCodeAddress = address.code + 0x800

export class Generator {
  readonly groups: Group[] = []
  readonly random: Random
  private readonly forms = new Map<string, FormInfo>()

  constructor(
    readonly seed: number,
    readonly density: Density,
    /** 16-bit addresses are possible on this machine. */
    readonly allow16: boolean,
  ) {
    this.random = new Random(seed)
  }

  /** What groups of one kind share; the same arguments give the same object. */
  form(name: string, undefinedFlags: readonly string[] = [], ignored: readonly string[] = []): FormInfo {
    const key = [name, undefinedFlags, ignored].join()
    const form = this.forms.get(key) ?? {name, undefinedFlags, ignored}
    this.forms.set(key, form)
    return form
  }

  add(form: FormInfo, draft: GroupDraft): void {
    const seed = groupSeed(this.seed, this.groups.length)
    this.groups.push({
      form,
      bits: draft.bits ?? 64,
      seed,
      kinds: {...noKinds, ...draft.kinds},
      patches: draft.patches ?? [],
      code: Uint8Array.from(draft.code),
      codeAddress: draft.codeAddress ?? defaultCodeAddress,
      dataAddress: draft.dataAddress ?? address.dataWindow,
      count: draft.count ?? this.density.casesPerGroup,
    })
  }

  /** All groups of all forms in a table. */
  table(text: string, options: {bits32?: boolean} = {}): void {
    for (const form of parseForms(text)) {
      const info = this.form(form.name, form.undefinedFlags, form.ignored)
      if (!form.option.has('only32')) this.modeOfForm(form, info, 64, 1)
      if (form.option.has('only32')) this.modeOfForm(form, info, 32, 1)
      else if (options.bits32 !== false && !form.option.has('only64')) this.modeOfForm(form, info, 32, 0.4)
    }
  }

  private modeOfForm(form: Form, info: FormInfo, bits: 64 | 32, share: number): void {
    for (const size of operandSizes(form, bits)) {
      if (size === 64 && bits === 32) continue
      const times = (groups: number) => Math.max(1, Math.round(groups * share * form.weight))
      const choices = rmChoices(form)
      if (choices.register)
        for (let i = times(this.density.registerGroups); i > 0; i--) this.instance(form, info, bits, size, false)
      if (choices.memory)
        for (let i = times(this.density.memoryGroups); i > 0; i--) this.instance(form, info, bits, size, true)
      if (choices.memory && form.option.has('lock')) this.instance(form, info, bits, size, true, true)
      if (!choices.register && !choices.memory) {
        for (let i = times(this.density.registerGroups); i > 0; i--) this.instance(form, info, bits, size, false)
      }
    }
  }

  private instance(form: Form, info: FormInfo, bits: 64 | 32, size: number, useMemory: boolean, lock = false): void {
    const {random} = this
    const registers = bits === 64 ? 16 : 8
    const patches: Patch[] = form.pins.flatMap(([register, value, width]) =>
      pinRegister(register, value, Math.min(width, bits) as 64),
    )
    const taken = new Set(form.pins.map(([register]) => register))
    let reg = form.modrm === 'r' ? random.below(registers) : (form.modrm ?? 0)
    let rm: Parts['rm']
    let vvvv = 0
    let opcodeRegister: number | undefined
    let dataAddress: number = address.dataWindow
    let memoryUsed = false
    const immediate: number[] = []
    if (form.plusRegister) opcodeRegister = random.below(registers)
    for (const operand of form.operands) {
      const kind = operand[0]
      const letter = operand[1]
      if ('EMWQRUN'.includes(kind) && operand.length === 2) {
        const memory = kind === 'M' || ('EWQ'.includes(kind) && useMemory)
        if (memory) {
          const bytes = operandBytes(letter, size)
          const align = form.align ?? (lock ? bytes : bytes === 16 || bytes === 512 ? 16 : 0)
          const wish: MemoryWish = {bits, bytes, align, taken, allow16: this.allow16}
          const placed = placeMemory(random, wish)
          patches.push(...placed.patches)
          dataAddress = placed.dataAddress
          rm = this.withSegment(placed.memory, bits, patches, placed.target)
          memoryUsed = true
        } else rm = random.below(kind === 'Q' || kind === 'N' ? 8 : registers)
      } else if (kind === 'P') reg = random.below(8)
      else if (kind === 'B' && operand.length === 2) vvvv = random.below(registers)
      else if (kind === 'I' && operand !== 'I1') immediate.push(...this.immediate(form, letter, size))
    }
    if (form.modrm === 'r' && form.option.has('same=no')) while (reg === rm) reg = random.below(registers)
    const vex = form.vex && {map: form.vex.map, prefix: form.vex.prefix, w: vexW(form.vex.w, size), vvvv}
    const byteOperand = form.operands.some(operand => 'EGRZ'.includes(operand[0]) && operand[1] === 'b')
    const parts: Parts = {
      bits,
      lock,
      operandPrefix: size === 16 && form.mandatory !== 0x66,
      prefix: form.mandatory,
      rexW: form.rexW || (size === 64 && !form.vex && !form.option.has('d64')),
      forceRex: bits === 64 && !form.vex && random.below(byteOperand ? 2 : 10) === 0,
      opcode: form.opcode,
      opcodeRegister,
      reg,
      rm,
      immediate,
      vex,
    }
    const codeAddress = this.codeAddress()
    const code = encode(parts, codeAddress)
    const vector = form.operands.some(operand => 'VWU'.includes(operand[0]) && operand.length === 2)
    const mmx = form.operands.some(operand => 'PQN'.includes(operand[0]) && operand.length === 2)
    this.add(info, {
      bits,
      code,
      codeAddress,
      dataAddress,
      patches,
      kinds: {
        xmm: vector ? form.kind : Values.fixed,
        x87: mmx ? Values.integer : form.option.has('fpu') ? Values.extended : Values.fixed,
        data: memoryUsed ? form.kind : Values.fixed,
        stack: form.option.has('stack') ? (Values.integer as ValueKind) : Values.fixed,
        mxcsr: form.option.has('mxcsr'),
        control: form.option.has('control'),
      },
    })
  }

  /** Sometimes a segment override: one that changes nothing, or GS or FS with a base that does. */
  private withSegment(
    memory: NonNullable<Exclude<Parts['rm'], number>>,
    bits: 64 | 32,
    patches: Patch[],
    target: number,
  ) {
    const choice = this.random.below(24)
    if (bits === 32) return choice === 0 ? {...memory, segment: 0x26} : memory
    if (choice === 0) return {...memory, segment: this.random.pick([0x26, 0x2e, 0x36, 0x3e])}
    // An absolute operand is the plain case for a segment base: the base holds the way from the displacement to the target.
    if (choice <= 2 && memory.base === undefined && memory.index === undefined && !memory.ripRelative) {
      const displacement = this.random.below(0x1000)
      const base = target - displacement
      const segment = choice === 1 ? 0x65 : 0x64
      const word = (segment === 0x65 ? 152 : 144) >> 2
      patches.push({word, and: 0, or: base})
      return {...memory, displacement, segment}
    }
    return memory
  }

  /** Mostly the middle of the code page; sometimes so that the instruction crosses into the next page. */
  codeAddress(): number {
    return this.random.below(8) === 0 ? address.code + 0x1000 - 1 - this.random.below(8) : defaultCodeAddress
  }

  private immediate(form: Form, letter: string, size: number): number[] {
    const {random} = this
    const bytes = letter === 'v' ? size / 8 : letter === 'z' ? (size === 16 ? 2 : 4) : operandBytes(letter, size)
    if (form.immediateRange) {
      const [low, high] = form.immediateRange
      return littleEndian(low + random.below(high - low + 1), bytes)
    }
    const edges = [0n, 1n, -1n, 0x7fn, -0x80n, 2n, 0x7fffn, 0x8000n, 0x7fffffffn, 0x80000000n, 0x0fn, 0xf0n]
    const wide = (BigInt(random.next()) << 32n) ^ BigInt(random.next())
    return littleEndian(random.below(3) === 0 ? random.pick(edges) : wide, bytes)
  }
}

/** Operand sizes in bits that a form has in a mode. */
function operandSizes(form: Form, bits: 64 | 32): readonly number[] {
  if (form.sizes) return form.sizes
  const letters = form.operands.filter(operand => operand.length === 2).map(operand => operand[1])
  if (letters.includes('v') || letters.includes('z'))
    return form.option.has('d64') && bits === 64 ? [16, 64] : [16, 32, 64]
  if (letters.includes('y')) return [32, 64]
  return [0]
}

function rmChoices(form: Form): {register: boolean; memory: boolean} {
  const kinds = form.operands.filter(operand => operand.length === 2).map(operand => operand[0])
  const both = kinds.some(kind => 'EWQ'.includes(kind))
  return {
    register: both || kinds.some(kind => 'RUN'.includes(kind)),
    memory: both || kinds.includes('M'),
  }
}

function vexW(w: 0 | 1 | 'y', size: number): 0 | 1 {
  return w === 'y' ? (size === 64 ? 1 : 0) : w
}
