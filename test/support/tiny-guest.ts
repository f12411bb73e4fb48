/**
 * PV guests of a few instructions, written by tests: an ELF file with Xen's notes whose code is put together here, byte by byte.
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
import {makeElf, notesWith, virtBase} from './made-up-kernel.js'

const codePlace = 0x100000
const dataPlace = 0x110000

/** SHUTDOWN_* reasons. */
export const Shutdown = {poweroff: 0, reboot: 1, crash: 3} as const
const schedShutdown = 2
const eventSend = 4

const Register = {rax: 0, rcx: 1, rdx: 2, rsi: 6, rdi: 7, r8: 8, r9: 9, r10: 10} as const
const argumentRegisters = [Register.rdi, Register.rsi, Register.rdx, Register.r10, Register.r8, Register.r9]

/** Code and data of a guest; each method adds to them. */
export class TinyGuest {
  private readonly code: number[] = []
  private readonly parts: Uint8Array[] = []
  private dataBytes = 0
  private printed = 0

  constructor() {
    this.raw(0x48, 0x89, 0xf5) // mov rbp, rsi
    this.raw(0x48, 0x8b, 0x9e, ...littleEndian(StartInfo.offset.consoleMfn, 4)) // mov rbx, [rsi + consoleMfn]
    this.raw(0x48, 0xc1, 0xe3, 0x0c) // shl rbx, 12
    this.move(Register.rax, virtBase)
    this.raw(0x48, 0x01, 0xc3) // add rbx, rax
  }

  /** Instructions as bytes. */
  raw(...bytes: number[]): this {
    this.code.push(...bytes)
    return this
  }

  /** Puts a value into a register, by its number. */
  move(register: number, value: bigint | number): this {
    return this.raw(
      0x48 | (register >> 3),
      0xb8 | (register & 7),
      ...littleEndian(BigInt.asUintN(64, BigInt(value)), 8),
    )
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
    return this.move(Register.rax, number).raw(0x0f, 0x05)
  }

  /** Writes to the console ring, as much as fits in it before anything is taken out. */
  print(text: string): this {
    const bytes = new TextEncoder().encode(text)
    const end = this.printed + bytes.length
    if (end > consoleOutSize) throw new Error('a tiny guest says no more than the ring holds')
    this.raw(0x48, 0x8d, 0xbb, ...littleEndian(ConsolePage.offset.out + this.printed, 4)) // lea rdi, [rbx + …]
    this.move(Register.rsi, this.data(bytes)).move(Register.rcx, bytes.length).raw(0xf3, 0xa4) // rep movsb
    this.raw(0xc7, 0x83, ...littleEndian(ConsolePage.offset.outProd, 4), ...littleEndian(end, 4)) // mov dword [rbx + …], …
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
    const start = this.code.length
    body()
    return this.raw(0x0f, 0x82, ...littleEndian(BigInt.asUintN(32, BigInt(start - this.code.length - 6)), 4)) // jb start
  }

  /** What follows a comparison that finds a difference. */
  unlessEqual(body: () => void): this {
    const start = this.code.length
    this.raw(0x0f, 0x84, 0, 0, 0, 0) // je behind it
    body()
    const bytes = littleEndian(this.code.length - start - 6, 4)
    for (const [index, byte] of bytes.entries()) this.code[start + 2 + index] = byte
    return this
  }

  /** The same for ever. */
  forEver(body: () => void = () => {}): this {
    const start = this.code.length
    body()
    return this.raw(0xe9, ...littleEndian(BigInt.asUintN(32, BigInt(start - this.code.length - 5)), 4)) // jmp start
  }

  /** The kernel file. */
  kernel(): Uint8Array {
    const data = Buffer.concat(this.parts)
    return makeElf({
      notes: notesWith({1: virtBase + BigInt(codePlace)}),
      segments: [
        {paddr: codePlace, data: Uint8Array.from(this.code), memoryBytes: dataPlace - codePlace},
        {paddr: dataPlace, data, memoryBytes: Math.ceil((data.length + 1) / 4096) * 4096},
      ],
    })
  }
}
