/** Hardware breakpoints: DR0 to DR3 and DR7 as a kernel sets them for a debugger, #DB and DR6 as it finds them. */
import t from 'tap'
import {Hypercall} from '../../lib/abi/xen.js'
import {state} from '../../lib/x86/state.js'
import {assembled} from '../support/assembler.js'
import {direct, type PvMachine, pvMachine, scratchFrame} from '../support/pv-machine.js'

const codeFrame = 30
const handlerFrame = 31
const dataFrame = 40
const Gpr = {rax: 0, rcx: 1, rbx: 3, rsp: 4, rsi: 6, rdi: 7} as const
const data = direct + BigInt(dataFrame * 4096)
const forEver = assembled('jmp 0')
const clean = 0xffff0ff0n
const resumeFlag = 0x10000n

/** DR7 that enables a register; `lengthBits` 0 is one byte, 1 two, 3 four, 2 eight. */
const enable = (register: number, kind: 'execute' | 'write' | 'access', lengthBits = 0) =>
  (2n << BigInt(register * 2)) |
  (BigInt({execute: 0, write: 1, access: 3}[kind] | (lengthBits << 2)) << BigInt(16 + register * 4))

/** A guest with a #DB handler, before its code. */
function guestWith(code: string, breakpoints: Record<number, bigint>, control: bigint): PvMachine {
  const guest = pvMachine()
  const {vcpu, memory} = guest
  const scratch = guest.host(scratchFrame)
  memory.bytes[scratch] = 1
  memory.view.setBigUint64(scratch + 8, guest.linear(handlerFrame), true)
  guest.call(Hypercall.setTrapTable, guest.linear(scratchFrame))
  memory.bytes.set([...assembled(code), ...forEver], guest.host(codeFrame))
  memory.bytes.set(forEver, guest.host(handlerFrame))
  for (const [register, address] of Object.entries(breakpoints))
    guest.call(Hypercall.setDebugreg, Number(register), address)
  guest.call(Hypercall.setDebugreg, 7, control)
  vcpu.setGpr(Gpr.rsp, guest.linear(5, 2048))
  vcpu.setGpr(Gpr.rbx, data)
  vcpu.setGpr(Gpr.rdi, data)
  vcpu.setGpr(Gpr.rsi, data + 64n)
  vcpu.rip = guest.linear(codeFrame)
  return guest
}

/** Runs until #DB; where it came, as an offset in the code, and DR6. */
function untilDebug(guest: PvMachine, turns = 20): [offset: number, status: bigint] | undefined {
  const {vcpu, memory} = guest
  for (let turn = 0; turn < turns; turn++) {
    vcpu.run()
    Atomics.store(memory.int32, (vcpu.base + state.pending) >> 2, 0)
    if (vcpu.rip !== guest.linear(handlerFrame)) continue
    const rip = memory.view.getBigUint64(guest.host(5) + Number(vcpu.gpr(Gpr.rsp) & 0xfffn) + 16, true)
    const offset = Number(rip - guest.linear(codeFrame))
    guest.call(Hypercall.getDebugreg, 6)
    return [offset, vcpu.gpr(Gpr.rax)]
  }
  return undefined
}

const store = 'mov [rbx],eax'
const load = 'mov eax,[rbx]'

t.test('a write is reported after the instruction that made it', async t => {
  const guest = guestWith(`nop; ${load}; mov eax,0x600df00d; ${store}`, {0: data}, enable(0, 'write', 3))
  t.strictSame(untilDebug(guest), [10, clean | 1n])
  t.equal(guest.memory.view.getUint32(guest.host(dataFrame), true), 0x600df00d, 'and has been made')
})

t.test('reads are, too, where they are asked for', async t => {
  const guest = guestWith(`nop; ${load}; ${store}`, {2: data}, enable(2, 'access', 3))
  t.strictSame(untilDebug(guest), [3, clean | 4n])
})

t.test('only bytes in reach of the breakpoint count', async t => {
  for (const [offset, bits, hit] of [
    [0n, 0, true],
    [3n, 0, true],
    [4n, 0, false],
    [4n, 3, false],
    [4n, 2, true],
    [2n, 1, true],
  ] as const) {
    const guest = guestWith(store, {1: data + offset}, enable(1, 'write', bits))
    t.strictSame(untilDebug(guest), hit ? [2, clean | 2n] : undefined, `${offset}, length ${bits}`)
  }
})

t.test('stack, read-modify-write, strings and two at once', async t => {
  const rows: [code: string, address: bigint, bytes: number][] = [
    ['push rax', direct + BigInt(5 * 4096 + 2048 - 8), 1],
    ['inc DWORD PTR [rbx]', data, 2],
    ['lock xadd [rbx],eax', data, 4],
    ['movs BYTE PTR es:[rdi],BYTE PTR ds:[rsi]', data, 1],
  ]
  for (const [code, address, bytes] of rows)
    t.strictSame(untilDebug(guestWith(code, {0: address}, enable(0, 'write'))), [bytes, clean | 1n], code)
  const both = guestWith(store, {0: data, 3: data}, enable(0, 'write', 3) | enable(3, 'access', 3))
  t.strictSame(untilDebug(both), [2, clean | 9n])
  const repeated = guestWith('rep movs BYTE PTR es:[rdi],BYTE PTR ds:[rsi]', {0: data + 5n}, enable(0, 'write'))
  repeated.vcpu.setGpr(Gpr.rcx, 9n)
  t.strictSame(untilDebug(repeated), [2, clean | 1n], 'rep movsb')
})

t.test('an instruction is reported before it runs, and once', async t => {
  const guest = guestWith('nop; inc eax; nop', {1: direct + BigInt(codeFrame * 4096 + 1)}, enable(1, 'execute'))
  guest.vcpu.setGpr(Gpr.rax, 7n)
  t.strictSame(untilDebug(guest), [1, clean | 2n])
  // The handler returns to it with RF set.
  const {vcpu} = guest
  vcpu.setGpr(Gpr.rax, 7n)
  vcpu.rip = guest.linear(codeFrame, 1)
  vcpu.rflags = 0x202n | resumeFlag
  vcpu.run()
  t.equal(vcpu.gpr(Gpr.rax), 8n)
  t.equal(vcpu.rip, guest.linear(codeFrame, 3))
  t.equal(vcpu.rflags & resumeFlag, 0n)
  vcpu.rip = guest.linear(codeFrame, 1)
  vcpu.run()
  t.equal(vcpu.rip, guest.linear(handlerFrame), 'the next time it comes by, it is')
})

t.test('what is not enabled is not there', async t => {
  const guest = guestWith(`${store}; ${load}`, {0: data}, 0n)
  t.equal(untilDebug(guest), undefined)
})
