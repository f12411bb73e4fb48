/**
 * PV guests of a few instructions, written by tests: an ELF file with Xen's notes whose code is put together here.
 *
 *   entry   RBP = start_info, RBX = the console page, RSP = the boot stack; events masked, no trap handlers
 *   data    one block, whose address `data()` tells
 *
 * Source: SDM vol. 2; public/xen.h (start_info), public/io/console.h.
 */
import {ConsolePage, consoleOutSize} from '../../lib/abi/io/console.js'
import {Hypercall} from '../../lib/abi/xen.js'
import {StartInfo} from '../../lib/domain/builder.js'
import {consolePort} from '../../lib/hypervisor/create.js'
import {littleEndian} from '../vectors/encode.js'
import {assembled} from './assembler.js'
import {makeElf, notesWith, virtBase} from './made-up-kernel.js'

const codePlace = 0x100000
const dataPlace = 0x110000

/** SHUTDOWN_* reasons. */
export const Shutdown = {poweroff: 0, reboot: 1, crash: 3} as const
const schedShutdown = 2
const eventSend = 4

const argumentRegisters = ['rdi', 'rsi', 'rdx', 'r10', 'r8', 'r9']

/** Code and data of a guest; each method adds to them. */
export class TinyGuest {
  private readonly bytes: number[] = []
  private readonly parts: Uint8Array[] = []
  private dataBytes = 0
  private printed = 0

  constructor() {
    this.code(`mov rbp,rsi; mov rbx,[rsi+${StartInfo.offset.consoleMfn}]; shl rbx,0xc`)
    this.move('rax', virtBase).code('add rbx,rax')
  }

  /** Instructions, as `assembled` takes them. */
  code(text: string): this {
    this.bytes.push(...assembled(text, {rip: this.bytes.length}))
    return this
  }

  /** Puts a value into a register. */
  move(register: string, value: bigint | number): this {
    return this.code(`movabs ${register},${value}`)
  }

  /** Keeps bytes for the guest; returns their address. They start a page if they fill one. */
  data(bytes: Uint8Array): bigint {
    const align = bytes.length >= 4096 ? 4096 : 8
    const padding = -this.dataBytes & (align - 1)
    this.parts.push(new Uint8Array(padding), bytes)
    const at = this.dataBytes + padding
    this.dataBytes = at + bytes.length
    return virtBase + BigInt(dataPlace + at)
  }

  /** A hypercall, by SYSCALL. */
  hypercall(number: number, ...args: (bigint | number)[]): this {
    for (const [index, value] of args.entries()) this.move(argumentRegisters[index], value)
    return this.move('rax', number).code('syscall')
  }

  /** Writes to the console ring, as much as fits in it before anything is taken out. */
  print(text: string): this {
    const bytes = new TextEncoder().encode(text)
    const end = this.printed + bytes.length
    if (end > consoleOutSize) throw new Error('a tiny guest says no more than the ring holds')
    this.code(`lea rdi,[rbx+${ConsolePage.offset.out + this.printed}]`)
    this.move('rsi', this.data(bytes)).move('rcx', bytes.length)
    this.code('rep movs BYTE PTR es:[rdi],BYTE PTR ds:[rsi]')
    this.code(`mov DWORD PTR [rbx+${ConsolePage.offset.outProd}],${end}`)
    this.printed = end
    return this.send(consolePort)
  }

  /** EVTCHNOP_send. */
  send(port: number): this {
    return this.hypercall(Hypercall.eventChannelOp, eventSend, this.data(Uint8Array.from(littleEndian(port, 4))))
  }

  /** SCHEDOP_shutdown. */
  shutDown(reason: number): this {
    return this.hypercall(Hypercall.schedOp, schedShutdown, this.data(Uint8Array.from(littleEndian(reason, 4))))
  }

  /** The same again while the comparison at its end says "below". */
  repeatBelow(body: () => void): this {
    const start = this.bytes.length
    body()
    return this.code(`jb ${start}`)
  }

  /** What follows a comparison that finds a difference. */
  unlessEqual(body: () => void): this {
    const start = this.bytes.length
    body()
    // What is jumped over has jumps within itself only, and may be moved. The jump has 2 bytes, or 6 if it goes far.
    const length = this.bytes.length - start
    this.bytes.splice(start, 0, ...assembled(`je ${length + (length < 128 ? 2 : 6)}`))
    return this
  }

  /** The same for ever. */
  forEver(body: () => void = () => {}): this {
    const start = this.bytes.length
    body()
    return this.code(`jmp ${start}`)
  }

  /** The kernel file. */
  kernel(): Uint8Array {
    const data = Buffer.concat(this.parts)
    return makeElf({
      notes: notesWith({1: virtBase + BigInt(codePlace)}),
      segments: [
        {paddr: codePlace, data: Uint8Array.from(this.bytes), memoryBytes: dataPlace - codePlace},
        {paddr: dataPlace, data, memoryBytes: Math.ceil((data.length + 1) / 4096) * 4096},
      ],
    })
  }
}
