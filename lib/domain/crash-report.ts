/**
 * What a domain's log shows of a guest that crashed: its registers as text.
 */
import {Segment} from '../x86/state.js'
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

/** All registers of a vCPU, several lines. */
export function describeRegisters(vcpu: Vcpu): string {
  const lines = [
    `rip: ${hex(vcpu.rip)}   rflags: ${hex(vcpu.rflags)}   cr2: ${hex(vcpu.u64('cr2'))}   cr3: ${hex(vcpu.u64('cr3'))}`,
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
  lines.push(`${selectors.join('   ')}   mode: ${vcpu.u32('mmuMode') === 0 ? 'kernel' : 'user'}`)
  return lines.join('\n')
}
