/**
 * What a stream carries besides pages: taken from a parked machine, and put into an empty one. What can be worked out anew is not carried: frame types
 * follow from pins and roots, so page tables are validated on arrival exactly as when the guest pinned them; TLBs and decoded code are caches.
 *
 * Nothing that arrives is believed: numbers that the hypervisor uses as offsets are checked or worked out here.
 */
import {grantsPerFrame} from '../../abi/grant-table.js'
import {virqCount} from '../../abi/xen.js'
import {OperatorError} from '../../base/errors.js'
import {PortKind, portCount} from '../../hypervisor/event-channels.js'
import {FrameType} from '../../hypervisor/frame-types.js'
import {maximumGrantFrames} from '../../hypervisor/layout.js'
import {PageTables} from '../../hypervisor/page-tables.js'
import {type FieldName, field, grantMapBytes, grantMapCount, MachineRecord} from '../../hypervisor/record.js'
import {cpuFeatures} from '../../x86/cpuid.js'
import {state} from '../../x86/state.js'
import type {Machine} from '../guest.js'
import {
  Block,
  blockVersion,
  type FrameRuns,
  type StreamContents,
  type StreamStart,
  type StreamState,
  streamVersion,
} from './record.js'

const recordBytes = 0x10000
/** The part of a vCPU area that is saved: up to the scratch area. */
const vcpuBytes = state.scratch
const noFrame = 0xffffffff

/** Byte ranges of a machine that go as they are. */
function blockRanges({layout}: Machine): [id: number, from: number, to: number][] {
  return [
    [Block.record, 0, recordBytes],
    [Block.vcpu, layout.vcpuBase, layout.vcpuBase + vcpuBytes],
    [Block.grants, layout.grantUses, layout.writtenFrames],
  ]
}

/** How many frames, from the first on, are carried: those behind them are the tables that show the M2P, which follow from the layout. */
export function carriedFrames({layout}: Machine): number {
  return layout.m2pTables
}

/** The first words of a machine's stream. */
export function describeMachine({layout}: Machine): Omit<StreamStart, 'head'> {
  const {ramPages, sharedInfo, grantFrames, m2p, frames} = layout
  return {stream: streamVersion, ramPages, sharedInfo, grantFrames, m2p, frames, cpu: guestCpu()}
}

function guestCpu(): number[] {
  const [, , ecx, edx] = cpuFeatures(1, 0)
  const [, ebx] = cpuFeatures(7, 0)
  return [ecx >>> 0, edx >>> 0, ebx >>> 0]
}

/** Refuses a stream for which a machine here would not be the same. Errors: OperatorError. */
export function checkStart(start: StreamStart, {layout}: Machine): void {
  if (start.ramPages !== layout.ramPages) {
    const mib = (pages: number) => Math.ceil(pages / 256)
    throw new OperatorError(
      `the saved domain was built for ${mib(start.ramPages)} MiB of memory, its configuration is for ${mib(layout.ramPages)} MiB`,
      {hint: 'give it a configuration with the same "maxmem", or "memory" where there is none', exitCode: 3},
    )
  }
  for (const name of ['sharedInfo', 'grantFrames', 'm2p', 'frames'] as const) {
    if (start[name] === layout[name]) continue
    throw new OperatorError(`the saved domain has ${name} ${start[name]}, here it would be ${layout[name]}`, {
      exitCode: 3,
    })
  }
  const here = guestCpu()
  const lacks = here.findIndex((bits, index) => ((start.cpu?.[index] ?? 0) & ~bits) !== 0)
  if (lacks < 0) return
  const register = ['leaf 1 ECX', 'leaf 1 EDX', 'leaf 7 EBX'][lacks]
  throw new OperatorError(`the saved domain uses processor features that are not offered here (CPUID ${register})`, {
    exitCode: 3,
  })
}

/** The blocks of a parked machine. */
export function takeBlocks(machine: Machine): {id: number; bytes: Uint8Array}[] {
  return blockRanges(machine).map(([id, from, to]) => ({id, bytes: machine.memory.bytes.slice(from, to)}))
}

/** What of a parked machine is carried as values. */
export function takeValues({memory, layout}: Machine): Pick<StreamState, 'timeNs' | 'absent' | 'pins' | 'vcpuInfo'> {
  const record = new MachineRecord(memory)
  const pins: [number, number][] = []
  for (let mfn = 0; mfn < layout.ramPages; mfn++) {
    const level = memory.bytes[layout.pins + mfn]
    if (level !== 0) pins.push([mfn, level])
  }
  const types = new PageTables(memory, layout, record).types
  const absent: [number, number][] = []
  for (let mfn = 0; mfn < layout.ramPages; mfn++) {
    if (types.typeOf(mfn) !== FrameType.absent) continue
    const last = absent.at(-1)
    if (last !== undefined && last[0] + last[1] === mfn) last[1]++
    else absent.push([mfn, 1])
  }
  return {timeNs: record.f64(field.parkedNs), absent, pins, vcpuInfo: record.u32(field.vcpuInfo) - layout.ramBase}
}

/**
 * Puts blocks and values into a machine whose pages are there: all but its domid. Errors: OperatorError when they do not make sense.
 */
export function putState(machine: Machine, {blocks, state: values}: StreamContents): void {
  const {memory, layout} = machine
  for (const [id, from, to] of blockRanges(machine)) {
    const block = blocks.get(id)
    if (block === undefined || block.version !== blockVersion || block.bytes.length !== to - from)
      refuse(`block ${id} is missing or of another version`)
    memory.bytes.set(block.bytes, from)
  }
  putRecord(machine, values)
  putVcpu(machine)
  putFrameTypes(machine, values)
  // Backends note what they wrote anew.
  memory.bytes.fill(0, layout.writtenFrames, layout.dirtyFrames)
}

function putRecord({memory, layout}: Machine, {vcpuInfo, timeNs}: StreamState): void {
  const record = new MachineRecord(memory)
  for (const name of ['control', 'harvest', 'parked', 'grantLock', 'written', 'stopped', 'absentPages'] as const)
    record.setU32(field[name], 0)
  memory.bytes.fill(0, field.sentPorts, field.sentPorts + 512)
  memory.bytes.fill(0, field.writtenSummary, field.writtenSummary + 128)
  const isAligned = Number.isInteger(vcpuInfo) && vcpuInfo % 8 === 0 && vcpuInfo % 4096 <= 4096 - 64
  const frame = Math.floor(vcpuInfo / 4096)
  if (!isAligned || vcpuInfo < 0 || (frame >= layout.ramPages && frame !== layout.sharedInfo))
    refuse('vcpu_info lies nowhere')
  record.setU32(field.vcpuInfo, layout.ramBase + vcpuInfo)
  if (!(Number.isFinite(timeNs) && timeNs >= 0 && timeNs < 2 ** 62)) refuse('its time makes no sense')
  limit(record, 'consoleLength', 255)
  limit(record, 'pollCount', 128)
  limit(record, 'gdtEntries', 16 * 512)
  limit(record, 'ldtEntries', 8192)
  limit(record, 'grantFrameCount', 64)
  limit(record, 'runstate', 3)
  limit(record, 'iopl', 3)
  checkPorts(record)
  checkGrantMaps(record, layout)
}

/** Numbers of ports and VIRQs that the hypervisor uses without looking. */
function checkPorts({memory: {bytes, view}}: MachineRecord): void {
  const within = (at: number, count: number) =>
    Array.from({length: count}, (_, index) => view.getUint16(at + index * 2, true)).every(port => port < portCount)
  if (!within(field.virqPorts, virqCount) || !within(field.pollPorts, 128)) refuse('a port is none')
  for (let at = field.ports; at < field.ports + portCount * 4; at += 4)
    if (bytes[at] === PortKind.virq && bytes[at + 1] >= virqCount) refuse(`VIRQ ${bytes[at + 1]} is none`)
}

function checkGrantMaps({memory: {uint32, view}}: MachineRecord, layout: Machine['layout']): void {
  for (let at = field.grantMaps; at < field.grantMaps + grantMapCount * grantMapBytes; at += grantMapBytes) {
    if (uint32[at >> 2] === 0) continue
    const [ref, , mfn] = uint32.subarray((at >> 2) + 1)
    const place = view.getFloat64(at + 16, true)
    const isPlace = place === -1 || (place % 8 === 0 && place >= 0 && place < layout.ramPages * 4096)
    if (ref < maximumGrantFrames * grantsPerFrame && mfn < layout.ramPages && isPlace) continue
    refuse(`it maps grant ${ref} as frame ${mfn}`)
  }
}

function limit(record: MachineRecord, name: FieldName, most: number): void {
  const value = record.u32(field[name])
  if (value > most) refuse(`${name} is ${value}`)
}

/** Between two runs of generated code, wherever the vCPU was parked. */
function putVcpu({memory, layout}: Machine): void {
  const word = (offset: number) => (layout.vcpuBase + offset) >> 2
  const {uint32} = memory
  if (![16, 32, 64].includes(uint32[word(state.codeBits)])) refuse('its code segment has no size')
  if (uint32[word(state.mmuMode)] > 1 || uint32[word(state.cpl)] > 3) refuse('its privilege makes no sense')
  if (uint32[word(state.flagKind)] !== 0) refuse('its flags are not settled')
  for (const cleared of ['exitReason', 'exitDetail', 'currentPage', 'budget', 'wake', 'zero'] as const)
    uint32[word(state[cleared])] = 0
  uint32[word(state.zero) + 1] = 0
  uint32[word(state.pending)] = 1
}

function putFrameTypes({memory, layout}: Machine, {absent, pins}: StreamState): void {
  const record = new MachineRecord(memory)
  const tables = new PageTables(memory, layout, record)
  const roots = {kernelRoot: record.f64(field.kernelRoot) / 4096, userRoot: record.f64(field.userRoot) / 4096}
  memory.bytes.fill(0, layout.pins, layout.grantUses)
  for (const [first, count] of runsWithin(absent, layout.ramPages)) {
    for (let mfn = first; mfn < first + count; mfn++) tables.types.take(mfn, FrameType.absent)
    record.setU32(field.absentPages, record.u32(field.absentPages) + count)
  }
  const vcpuInfo = Math.floor((record.u32(field.vcpuInfo) - layout.ramBase) / 4096)
  if (vcpuInfo < layout.ramPages) take(tables, vcpuInfo, FrameType.writable)
  for (let index = 0; index < 16; index++) {
    const mfn = memory.uint32[(field.gdtFrames >> 2) + index]
    if (mfn !== noFrame) take(tables, mfn, FrameType.descriptors)
  }
  for (const [mfn, level] of pairs(pins, 'pins')) {
    if (mfn >= 0 && level >= 1 && level <= 4 && tables.pin(mfn, level) >= 0) continue
    refuse(`frame ${mfn} is no page table of level ${level}`)
  }
  for (const which of ['kernelRoot', 'userRoot'] as const) {
    record.setF64(field[which], -1)
    const mfn = roots[which]
    if (!Number.isInteger(mfn) && mfn >= 0) refuse(`its page tables have a root at ${mfn * 4096}`)
    if (!tables.setRoot(which, mfn < 0 ? -1 : mfn)) refuse(`frame ${mfn} is no root of page tables`)
  }
}

function take(tables: PageTables, mfn: number, type: number): void {
  if (tables.types.take(mfn, type) < 0) refuse(`frame ${mfn} cannot be in use as it says`)
}

function runsWithin(runs: FrameRuns, frames: number): FrameRuns {
  let next = 0
  for (const [first, count] of pairs(runs, 'list of absent frames')) {
    if (first < next || count <= 0) refuse('a list of frames is out of order')
    next = first + count
  }
  return next <= frames ? runs : refuse('it has absent frames beyond its memory')
}

/** A list of two whole numbers each. */
function pairs(list: unknown, what: string): readonly (readonly [number, number])[] {
  const isPair = (pair: unknown) => Array.isArray(pair) && pair.length === 2 && pair.every(Number.isSafeInteger)
  return Array.isArray(list) && list.every(isPair) ? list : refuse(`it has no ${what}`)
}

function refuse(what: string): never {
  throw new OperatorError(`the saved domain cannot be: ${what}`, {exitCode: 3})
}
