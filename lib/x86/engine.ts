/**
 * Makes guest code runnable: finds or decodes the block at RIP, sees to it that its instructions have handlers, and enters what it found into the
 * jump cache. Owns the function table that generated modules share.
 */
import {Code} from '../wasm/builder.js'
import {callableNames} from './callable.js'
import {CodeCache} from './code-cache.js'
import {coreModule} from './core.js'
import type {DecodedInstruction} from './decode/instruction-record.js'
import {record, recordBytes} from './decode/record.js'
import {setSigned64, writeRecord} from './decode/write-record.js'
import {handlerModule, type WriteHandler} from './generated-module.js'
import {Handlers} from './handlers.js'
import {helpers} from './helpers/index.js'
import {decode, templateOf} from './instruction-set.js'
import {Status} from './interpret.js'
import {Compiler, type CompilerHost, type TranslationService} from './jit/compiler.js'
import {RegionTranslator} from './jit/translator.js'
import {type Area, splitArea} from './record-area.js'
import {slowPaths} from './slow/index.js'
import {ExitReason, hotList, Segment, state} from './state.js'
import type {Vcpu} from './vcpu.js'

/** Modules that were written when the project was built; what is missing is written now. */
export interface BuiltModules {
  /** core.ts, for this vCPU. */
  readonly core?: WebAssembly.Module | undefined
  /** handlers.ts. */
  readonly handlers?: WebAssembly.Module | undefined
}

const maximumInstructions = 40
/** The function table: what ends a block, then interpreter handlers, then translations. */
const endOfBlockIndex = 1
const firstHandler = 2
const firstRegion = 16_384
const largestTable = 65_536
/** What the table grows by: its room is memory. */
const tableStep = 4096

export class Engine {
  readonly code: CodeCache
  readonly table = new WebAssembly.Table({element: 'anyfunc', initial: firstRegion + tableStep})
  /** Functions that generated code calls. */
  private readonly callable = new WebAssembly.Table({element: 'anyfunc', initial: callableNames.length})
  private readonly imports: Record<string, WebAssembly.ExportValue>
  private readonly runCore: () => void
  private readonly handlers: Handlers
  private nextRegion = firstRegion
  private readonly ripBytes = new Uint8Array(15)
  /** Where single instructions are decoded to. */
  private readonly aloneHead: number
  readonly compiler: Compiler

  constructor(
    private readonly vcpu: Vcpu,
    area: Area,
    private readonly translateAfter: number,
    optimizesAtOnce: boolean,
    service?: TranslationService,
    built: BuiltModules = {},
  ) {
    const {memory, base, tlb} = vcpu
    const codePages = area.start
    vcpu.setU32(state.codePages, codePages)
    this.aloneHead = codePages + (memory.bytes.length >>> 12)
    const {blocks, translations} = splitArea(memory.bytes.length, area)
    this.code = new CodeCache(memory, codePages, blocks.start, blocks.end, {
      dropped: (place, head) => tlb.unlink(place, head),
      cleared: () => {
        tlb.flushJumps()
        this.newEpoch()
        this.forgetTranslations()
      },
      changed: () => this.newEpoch(),
      firstCode: page => tlb.denyStores(page),
    })
    this.compiler = new Compiler(this.compilerHost(translations), optimizesAtOnce, service)
    this.imports = {
      memory: memory.wasm,
      cpu: new WebAssembly.Global({value: 'i32', mutable: false}, base),
      callable: this.callable,
    }
    const slow = {
      ...this.imports,
      handlers: this.table,
      raise: (vector: number, errorCode: number) => vcpu.access.raise(vector, errorCode),
      faultRead: (low: number, high: number, bytes: number) => vcpu.access.read(low, high, bytes),
      faultModify: (low: number, high: number, bytes: number) => vcpu.access.modify(low, high, bytes),
      faultWrite: (low: number, high: number, bytes: number) => vcpu.access.write(low, high, bytes),
      commit: (bytes: number) => vcpu.access.commit(bytes),
      retry: () => vcpu.setU32(state.exitReason, ExitReason.system),
      system: (record: number, number: number) => slowPaths[number](vcpu, record),
      ...helpers(memory, base),
    }
    const core = new WebAssembly.Instance(built.core ?? new WebAssembly.Module(coreModule(base)), {
      env: slow as WebAssembly.ModuleImports,
    })
    for (const [index, name] of callableNames.entries()) {
      this.callable.set(index, core.exports[name])
      this.imports[name] = core.exports[name]
    }
    this.runCore = core.exports.run as () => void
    const {end} = this.instantiate(new WebAssembly.Module(handlerModule([['end', endOfBlock()]])))
    this.table.set(endOfBlockIndex, end)
    this.handlers = new Handlers(this.table, firstHandler, module => this.instantiate(module), built.handlers)
  }

  /** Runs guest code until it has a reason to stop. */
  dispatch(): void {
    this.runCore()
  }

  /** Makes the code at RIP known to the dispatcher. False: a fault is in state. */
  enter(): boolean {
    const {vcpu} = this
    const {uint32} = vcpu.memory
    const at = (vcpu.base + state.rip) >>> 2
    const low = uint32[at]
    const high = uint32[at + 1] | 0
    const page = vcpu.access.fetchPage(low, high)
    if (page < 0) return false
    const mode = vcpu.u32(state.codeBits) | vcpu.u32(state.mmuMode)
    const start = page + (low & 0xfff)
    let head = this.code.find(start, low, high >>> 0, mode)
    if (head !== 0 && this.code.secondPage(head) !== 0) {
      const second = this.secondPage(low, high)
      if (second < 0) return false
      if (second !== this.code.secondPage(head)) {
        this.code.drop(head)
        head = 0
      }
    }
    if ((uint32[(vcpu.base + state.cr0) >>> 2] & 8) !== 0 && (head === 0 || this.code.usesFpu(head))) {
      return this.stepWithoutFpu()
    }
    if (head === 0) head = this.decodeBlock(low, high, page, mode)
    if (head === 0) return false
    vcpu.tlb.link(start, head)
    return true
  }

  /** Byte offset of the page after RIP's, or -1. */
  private secondPage(low: number, high: number): number {
    const nextLow = ((low & ~0xfff) + 4096) >>> 0
    return this.vcpu.access.fetchPage(nextLow, nextLow === 0 ? (high + 1) | 0 : high)
  }

  /** The page that the instruction decoded last reaches into, or 0. */
  private decodedSecondPage = 0

  /** Decodes the instruction at an address whose page is known. Leaves a fault and gives undefined when there is none. */
  private decodeAt(
    low: number,
    high: number,
    page: number,
    first: boolean,
    codeBits = this.vcpu.u32(state.codeBits),
  ): DecodedInstruction | undefined {
    const {vcpu} = this
    const {bytes} = vcpu.memory
    const bits = codeBits as 64 | 32 | 16
    const rip = signedAddress(low, high)
    const available = 4096 - (low & 0xfff)
    const start = page + (low & 0xfff)
    let decoded = decode(available >= 15 ? bytes : bytes.subarray(0, page + 4096), start, rip, bits)
    this.decodedSecondPage = 0
    if (decoded === 'more-bytes') {
      if (!first) return undefined
      const secondPage = this.secondPage(low, high)
      if (secondPage < 0) return undefined
      this.decodedSecondPage = secondPage
      this.ripBytes.set(bytes.subarray(start, start + available))
      this.ripBytes.set(bytes.subarray(secondPage, secondPage + 15 - available), available)
      decoded = decode(this.ripBytes, 0, rip, bits)
    }
    if (typeof decoded === 'string') {
      if (first) vcpu.raise(decoded === 'too-long' ? {vector: 13, errorCode: 0} : {vector: 6})
      return undefined
    }
    return decoded
  }

  /** Head of a new block, or 0 with a fault in state. */
  private decodeBlock(low: number, high: number, page: number, mode: number): number {
    const list: DecodedInstruction[] = []
    let secondPage = 0
    let at = low
    while (list.length < maximumInstructions) {
      const decoded = this.decodeAt(at, high, page, list.length === 0)
      if (decoded === undefined) {
        if (list.length === 0) return 0
        break
      }
      list.push(decoded)
      secondPage = this.decodedSecondPage
      at = (at + decoded.length) >>> 0
      if (templateOf(decoded).endsBlock || secondPage !== 0 || (at & ~0xfff) >>> 0 !== (low & ~0xfff) >>> 0) break
    }
    const head = this.code.reserve(list.length)
    this.writeRecords(head, list, low, high)
    const facts = {
      ripLow: low,
      ripHigh: high >>> 0,
      mode,
      instructions: list.length,
      page,
      secondPage,
      usesFpu: list.some(({usesFpu}) => usesFpu),
    }
    this.code.add(head, facts, Number.isFinite(this.translateAfter) ? this.translateAfter : 0)
    return head
  }

  private writeRecords(head: number, list: readonly DecodedInstruction[], low: number, high: number): void {
    const {uint32} = this.vcpu.memory
    let rip = signedAddress(low, high)
    let at = head
    for (const decoded of list) {
      at += recordBytes
      writeRecord(uint32, at, decoded, rip, this.handlers.indexOf(decoded))
      rip += decoded.length
    }
    at += recordBytes
    uint32[at >>> 2] = endOfBlockIndex
    setSigned64(uint32, (at + record.rip) >>> 2, rip)
  }

  /**
   * Lets go of memory that engines keep by module; to be called when nothing runs. Handlers that came one by one become one module; translations
   * whose blocks are gone become garbage.
   */
  compact(): void {
    this.handlers.compact()
    const live = this.code.liveSlots()
    for (let slot = firstRegion; slot < this.nextRegion; slot++) if (!live.has(slot)) this.table.set(slot, null)
    // Links may still lead to translations that better ones have replaced.
    this.newEpoch()
  }

  /** Makes a generated module's functions callable. */
  private instantiate(module: WebAssembly.Module): Record<string, () => void> {
    const instance = new WebAssembly.Instance(module, {env: this.imports as WebAssembly.ModuleImports})
    return instance.exports as Record<string, () => void>
  }

  /** Runs the instruction at RIP alone, from a record nobody keeps. False: a fault is in state. */
  stepAlone(): boolean {
    const {vcpu} = this
    const at = (vcpu.base + state.rip) >>> 2
    const low = vcpu.memory.uint32[at]
    const high = vcpu.memory.uint32[at + 1] | 0
    const page = vcpu.access.fetchPage(low, high)
    if (page < 0) return false
    const decoded = this.decodeAt(low, high, page, true)
    if (decoded === undefined) return false
    if ((vcpu.u32(state.cr0) & 8) !== 0 && decoded.usesFpu) {
      vcpu.raise({vector: 7})
      return false
    }
    this.writeRecords(this.aloneHead, [decoded], low, high)
    vcpu.access.allowOwnPage = true
    const first = this.aloneHead + recordBytes
    let status = (this.table.get(this.handlers.indexOf(decoded)) as (record: number) => number)(first)
    vcpu.access.allowOwnPage = false
    if (status === Status.next)
      status = (this.table.get(endOfBlockIndex) as (record: number) => number)(first + recordBytes)
    if (status === Status.blockEnd) return true
    const fault = vcpu.u32(state.exitReason) === ExitReason.fault
    vcpu.setU32(state.exitReason, ExitReason.none)
    return !fault
  }

  /** The instruction at RIP addresses memory through SS: with rSP or rBP as base, or as stack. */
  usesStackSegment(): boolean {
    const {vcpu} = this
    const at = (vcpu.base + state.rip) >>> 2
    const [low, high] = [vcpu.memory.uint32[at], vcpu.memory.uint32[at + 1] | 0]
    const page = vcpu.access.fetchPage(low, high)
    const decoded = page < 0 ? undefined : this.decodeAt(low, high, page, true)
    if (decoded === undefined) return false
    if (decoded.memory !== undefined && decoded.memory.segment === Segment.ss) return true
    return decoded.memory === undefined && /^(PUSH|POP|CALL|RET|ENTER|LEAVE|IRET)/.test(decoded.instruction.mnemonic)
  }

  /** While CR0.TS is set code runs one instruction at a time, so that #NM comes at the right one. */
  private stepWithoutFpu(): boolean {
    return this.stepAlone()
  }

  /** A block has run often enough to be translated. */
  hot(head: number): void {
    this.compiler.add(head)
  }

  /** What leads from one translation to another is to be found anew. */
  private newEpoch(): void {
    this.vcpu.setU32(state.codeEpoch, this.vcpu.u32(state.codeEpoch) + 1)
    this.vcpu.setU32(state.linkEpoch, this.vcpu.u32(state.linkEpoch) + 1)
  }

  /** Has translated what has become hot since, and takes in what is ready. */
  translateWaiting(): void {
    const {uint32} = this.vcpu.memory
    const at = (this.vcpu.base + hotList.count) >>> 2
    const list = (this.vcpu.base + hotList.start) >>> 2
    for (let index = 0; index < uint32[at]; index++) this.compiler.optimize(uint32[list + index])
    uint32[at] = 0
    this.compiler.flush()
  }

  private compilerHost(records: Area): CompilerHost {
    const translator = new RegionTranslator(this.vcpu.memory, this.vcpu.base, records)
    return {
      known: head => this.code.known(head),
      isCurrent: block => this.code.isCurrent(block),
      facts: ({head}) => this.code.facts(head),
      met: ({head}) => this.code.met(head),
      wanted: ({head}) => this.code.translation(head) === 0,
      cool: ({head}) => this.code.count(head, this.translateAfter),
      translate: jobs => translator.translate(jobs),
      instantiate: module => this.instantiate(module),
      forgetAll: () => this.code.clear(),
      hasRoom: functions => this.nextRegion + functions <= largestTable,
      place: code => {
        if (this.nextRegion === this.table.length) this.table.grow(tableStep)
        this.table.set(this.nextRegion, code)
        return this.nextRegion++
      },
      relink: () => this.newEpoch(),
      publish: ({head}, offset, word, replaces) => {
        const facts = this.code.facts(head)
        const ripLow = ((facts.ripLow & ~0xfff) | offset) >>> 0
        let target = this.code.find(facts.page + offset, ripLow, facts.ripHigh, facts.mode)
        if (target === 0) {
          target = this.code.reserve(0)
          // No room: all code has been forgotten, this translation too.
          if ((word & 0xffff) >= this.nextRegion) return
          this.code.add(target, {...facts, ripLow, secondPage: 0, instructions: 0}, 0)
        }
        if (replaces || this.code.translation(target) === 0) this.code.setTranslation(target, word)
      },
    }
  }

  /** All code is gone: so are its translations. */
  private forgetTranslations(): void {
    for (let slot = firstRegion; slot < this.nextRegion; slot++) this.table.set(slot, null)
    this.nextRegion = firstRegion
    this.compiler.reset()
  }
}

/** The record after a block's last instruction: RIP = its own address, block ended. */
function endOfBlock(): WriteHandler {
  return (_callHelper, cpuGlobal) => {
    const code = new Code(['i32'])
    code.globalGet(cpuGlobal)
    code.localGet(0)
    code.memory('i64.load', 32)
    code.memory('i64.store', state.rip)
    code.i32Const(Status.blockEnd)
    return code
  }
}

/** A linear address as a signed number; exact, because code runs at canonical addresses only. */
function signedAddress(low: number, high: number): number {
  return (high | 0) * 2 ** 32 + low
}
