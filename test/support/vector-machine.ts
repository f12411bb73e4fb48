/**
 * Runs native test vectors on the machine of machine.ts: loads a vector's state, runs its code until INT3 or an exception, reads the
 * state back. The pages are those of vectors/state.ts.
 */
import type {BuiltModules} from '../../lib/x86/engine.js'
import {loadLegacyImage, storeLegacyImage} from '../../lib/x86/float/x87-state.js'
import {state as cpu, Segment} from '../../lib/x86/state.js'
import type {Group} from '../vectors/generator.js'
import {address, dataBytes, memoryMap, offset, stackBytes, VectorState} from '../vectors/state.js'
import {machine, mappedFrames} from './machine.js'

/** Physical address of a mapped linear one. */
function physical(linear: number): number {
  let frame = mappedFrames
  for (const {address: start, pages} of memoryMap) {
    if (linear >= start && linear < start + pages * 4096) return frame * 4096 + (linear - start)
    frame += pages
  }
  throw new Error(`no page at ${linear}`)
}

export class VectorMachine {
  private readonly machine
  private readonly actual = new VectorState()

  constructor(tier: {translateAfter?: number; optimizesAtOnce?: boolean; built?: BuiltModules} = {}) {
    this.machine = machine({map: memoryMap, ...tier})
    const {vcpu} = this.machine
    vcpu.setU64(cpu.cr4, 0x406a0n | 0x10000n)
  }

  /** Puts a group's code where it belongs. */
  load(group: Group): void {
    const {vcpu, memory} = this.machine
    const start = this.machine.at(physical(address.code))
    vcpu.code.invalidatePage(start)
    vcpu.code.invalidatePage(start + 4096)
    memory.bytes.fill(0xcc, start, start + 8192)
    memory.bytes.set(group.code, this.machine.at(physical(group.codeAddress)))
  }

  /** The state after running a case of the loaded group; the object is reused. */
  run(group: Group, input: VectorState): VectorState {
    const {vcpu, memory, faults} = this.machine
    const {actual} = this
    const long = group.bits === 64
    for (let register = 0; register < 16; register++) vcpu.setGpr(register, input.gpr[register])
    vcpu.rip = input.rip
    vcpu.rflags = BigInt(input.rflags)
    vcpu.setSegmentBase(Segment.fs, input.fsBase)
    vcpu.setSegmentBase(Segment.gs, input.gsBase)
    vcpu.setCodeSegment(long ? 0x33 : 0x23, group.bits)
    for (const segment of Object.values(Segment)) vcpu.setSelector(segment, input.selectors[segment])
    memory.bytes.set(input.data, this.machine.at(physical(group.dataAddress)))
    memory.bytes.set(input.stack, this.machine.at(physical(address.stackWindow)))
    memory.bytes.set(input.fxsave.subarray(offset.xmm - offset.fx, offset.xmm - offset.fx + 256), vcpu.base + cpu.xmm)
    vcpu.setU32(cpu.mxcsr, input.mxcsr)
    this.loadX87(input)
    faults.length = 0
    this.machine.run()
    actual.bytes.fill(0)
    for (let register = 0; register < 16; register++) actual.gpr[register] = vcpu.gpr(register)
    actual.rip = faults[0].vector === 3 ? vcpu.rip - 1n : vcpu.rip
    actual.rflags = Number(vcpu.rflags & 0xffffffffn)
    actual.fsBase = vcpu.segmentBase(Segment.fs)
    actual.gsBase = vcpu.segmentBase(Segment.gs)
    for (const segment of Object.values(Segment)) actual.selectors[segment] = vcpu.selector(segment)
    const [fault] = faults
    actual.vector = fault.vector === 3 ? -1 : fault.vector
    actual.errorCode = fault.errorCode ?? 0
    if (fault.vector === 14) actual.cr2 = vcpu.u64(cpu.cr2)
    actual.fxsave.set(input.fxsave)
    actual.fxsave.set(memory.bytes.subarray(vcpu.base + cpu.xmm, vcpu.base + cpu.xmm + 256), offset.xmm - offset.fx)
    actual.view.setUint32(offset.mxcsr, vcpu.u32(cpu.mxcsr), true)
    this.saveX87(actual)
    const data = this.machine.at(physical(group.dataAddress))
    actual.data.set(memory.bytes.subarray(data, data + dataBytes))
    const stack = this.machine.at(physical(address.stackWindow))
    actual.stack.set(memory.bytes.subarray(stack, stack + stackBytes))
    return actual
  }

  private loadX87(input: VectorState): void {
    const {vcpu, memory} = this.machine
    memory.bytes.set(input.fxsave, vcpu.base + cpu.image)
    loadLegacyImage(memory.view, vcpu.base + cpu.x87, vcpu.base + cpu.image, true)
  }

  private saveX87(actual: VectorState): void {
    const {vcpu, memory} = this.machine
    const image = vcpu.base + cpu.image
    storeLegacyImage(memory.view, vcpu.base + cpu.x87, image, true)
    actual.fxsave.set(memory.bytes.subarray(image, image + 24))
    actual.fxsave.set(memory.bytes.subarray(image + 32, image + 160), 32)
  }
}
