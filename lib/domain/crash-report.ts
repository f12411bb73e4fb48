/**
 * What a domain's log shows of a guest that crashed: its registers and the code around RIP as text.
 */
import {disassemble} from '../x86/decode/disassemble.js'
import {decode} from '../x86/instruction-set.js'
import {Segment, state} from '../x86/state.js'
import type {Vcpu} from '../x86/vcpu.js'

const names = [
  'rax',
  'rcx',
  'rdx',
  'rbx',
  'rsp',
  'rbp',
  'rsi',
  'rdi',
  'r8',
  'r9',
  'r10',
  'r11',
  'r12',
  'r13',
  'r14',
  'r15',
]

const hex = (value: bigint) => value.toString(16).padStart(16, '0')

/** All registers of a vCPU and the instructions around RIP, several lines. */
export function describeVcpu(vcpu: Vcpu): string {
  return `registers of the guest:\n${describeRegisters(vcpu)}\ncode around rip:\n${describeCode(vcpu).join('\n')}`
}

function describeRegisters(vcpu: Vcpu): string {
  const lines = [
    `rip: ${hex(vcpu.rip)}   rflags: ${hex(vcpu.rflags)}   cr2: ${hex(vcpu.u64(state.cr2))}   cr3: ${hex(vcpu.u64(state.cr3))}`,
  ]
  for (let first = 0; first < names.length; first += 4) {
    lines.push(
      names
        .slice(first, first + 4)
        .map((name, index) => `${name}: ${hex(vcpu.gpr(first + index))}`)
        .join('   '),
    )
  }
  const selectors = Object.entries(Segment).map(
    ([name, segment]) => `${name}: ${vcpu.selector(segment).toString(16).padStart(4, '0')}`,
  )
  lines.push(`${selectors.join('   ')}   mode: ${vcpu.u32(state.mmuMode) === 0 ? 'kernel' : 'user'}`)
  return lines.join('\n')
}

/** Bytes looked at before RIP, instructions shown before it, and from it on. */
const code = {bytesBefore: 48, before: 5, after: 5} as const
const longestInstruction = 15

interface Line {
  readonly at: number
  readonly bytes: Uint8Array
  readonly text: string
}

/**
 * The instructions around RIP, RIP's marked. Where those before it begin is a guess, as their lengths differ: the first place from which they
 * lead to RIP.
 */
function describeCode(vcpu: Vcpu): string[] {
  const rip = Number(BigInt.asIntN(64, vcpu.rip))
  const before = readable(vcpu, rip, -1, code.bytesBefore).reverse()
  const lines: Line[] = []
  for (let start = 0; start < before.length && lines.length === 0; start++)
    lines.push(...linesUpTo(vcpu, before.subarray(start), rip))
  const shown = lines.slice(-code.before).map(line => `  ${lineText(line)}`)
  const bytes = readable(vcpu, rip, 1, code.after * longestInstruction)
  if (bytes.length === 0) return [...shown, `> ${hex(vcpu.rip)}:  cannot be read`]
  for (let at = 0, count = 0; count < code.after && at < bytes.length; count++) {
    const line = lineAt(vcpu, bytes.subarray(at), rip + at)
    shown.push(`${count === 0 ? '>' : ' '} ${lineText(line)}`)
    at += line.bytes.length
  }
  return shown
}

/** The instructions that fill the bytes up to `end` exactly, or none. */
function linesUpTo(vcpu: Vcpu, bytes: Uint8Array, end: number): Line[] {
  const lines: Line[] = []
  for (let at = 0; at < bytes.length; at += lines.at(-1)!.bytes.length) {
    const line = lineAt(vcpu, bytes.subarray(at), end - bytes.length + at)
    if (line.text === noInstruction) return []
    lines.push(line)
  }
  return lines
}

const noInstruction = '(bad)'

function lineAt(vcpu: Vcpu, bytes: Uint8Array, at: number): Line {
  const decoded = decode(bytes, 0, at, vcpu.u32(state.codeBits) as 64 | 32 | 16)
  if (typeof decoded === 'string') return {at, bytes: bytes.subarray(0, 1), text: noInstruction}
  return {at, bytes: bytes.subarray(0, decoded.length), text: disassemble(decoded, at)}
}

function lineText({at, bytes, text}: Line): string {
  const inHex = Buffer.from(bytes)
    .toString('hex')
    .replace(/..(?=.)/g, '$& ')
  return `${hex(BigInt.asUintN(64, BigInt(at)))}:  ${inHex.padEnd(30)} ${text}`
}

/** The bytes of the guest's code from RIP on (step 1), or before it and backwards (step -1), up to the first that cannot be read. */
function readable(vcpu: Vcpu, rip: number, step: 1 | -1, most: number): Uint8Array {
  const base = vcpu.u32(state.codeBits) === 64 ? 0 : Number(vcpu.segmentBase(Segment.cs))
  const bytes: number[] = []
  for (let at = rip + base + (step < 0 ? -1 : 0); bytes.length < most; at += step) {
    const place = vcpu.access.probe(at | 0, Math.floor(at / 2 ** 32), 'read')
    if (place < 0) break
    bytes.push(vcpu.memory.bytes[place])
  }
  return Uint8Array.from(bytes)
}
