/**
 * A tiny guest that keeps a pattern in some of its pages and checks it all the time. Each turn finds every word as the turn before left it, writes the
 * next turn's, prints the next letter of the alphabet and sleeps a while. A page that was lost or is older than the registers ends it with
 * {@link patternBroken} and a crash; so what it prints, without a gap or a letter twice, is the proof that nothing was lost.
 *
 *   RBX  console page      R12, R15  first byte of the pages and the first behind them
 *   RBP  letter            R14, R13  what this turn's, and the next turn's, words are above their own address
 */
import {ConsolePage, consoleOutSize} from '../../lib/abi/io/console.js'
import {Hypercall} from '../../lib/abi/xen.js'
import {consolePort} from '../../lib/hypervisor/create.js'
import {littleEndian} from '../vectors/encode.js'
import {Shutdown, TinyGuest} from './tiny-guest.js'

/** What it prints when a word is not as it was left. */
export const patternBroken = '#'

const [rdi, r12, r14, r15] = [7, 12, 14, 15]
const step = 0x9e3779b97f4a7c15n
const runstateInfo = 4 // VCPUOP_get_runstate_info
const pollOp = 3 // SCHEDOP_poll

/** Its kernel. `pages`: how many are written in each turn; `sleepMs`: how long it sleeps between two. */
export function checkingGuest({pages = 128, sleepMs = 5} = {}): Uint8Array {
  const guest = new TinyGuest()
  const first = guest.data(new Uint8Array(pages * 4096))
  const runstate = guest.data(new Uint8Array(48))
  const poll = guest.data(new Uint8Array(24))
  const place = (offset: number) => littleEndian(offset, 4)
  guest.move(r12, first).move(r15, first + BigInt(pages * 4096))
  guest.move(r14, step)
  guest.raw(0x31, 0xed) // xor ebp, ebp
  guest.raw(0x4c, 0x89, 0xe7) // mov rdi, r12
  guest.repeatBelow(() => {
    guest.raw(0x4a, 0x8d, 0x04, 0x37) // lea rax, [rdi + r14]
    guest.raw(0x48, 0x89, 0x07, 0x48, 0x83, 0xc7, 0x08) // mov [rdi], rax; add rdi, 8
    guest.raw(0x4c, 0x39, 0xff) // cmp rdi, r15
  })
  guest.forEver(() => {
    guest.move(0, step)
    guest.raw(0x4d, 0x8d, 0x2c, 0x06) // lea r13, [r14 + rax]
    guest.raw(0x4c, 0x89, 0xe7) // mov rdi, r12
    guest.repeatBelow(() => {
      guest.raw(0x4a, 0x8d, 0x04, 0x37) // lea rax, [rdi + r14]
      guest.raw(0x48, 0x3b, 0x07) // cmp rax, [rdi]
      guest.unlessEqual(() => {
        guest.raw(0xc6, 0x83, ...place(ConsolePage.offset.out), patternBroken.charCodeAt(0)) // mov byte [rbx + out], '#'
        guest.raw(0x8b, 0x83, ...place(ConsolePage.offset.outCons)) // mov eax, [rbx + outCons]
        guest.raw(0x05, ...place(consoleOutSize), 0x25, ...place(-consoleOutSize >>> 0)) // add eax, 2048; and eax, ~2047
        guest.raw(0xff, 0xc0, 0x89, 0x83, ...place(ConsolePage.offset.outProd)) // inc eax; mov [rbx + outProd], eax
        guest.send(consolePort).shutDown(Shutdown.crash)
      })
      guest.raw(0x4a, 0x8d, 0x04, 0x2f) // lea rax, [rdi + r13]
      guest.raw(0x48, 0x89, 0x07, 0x48, 0x83, 0xc7, 0x08) // mov [rdi], rax; add rdi, 8
      guest.raw(0x4c, 0x39, 0xff) // cmp rdi, r15
    })
    guest.raw(0x4d, 0x89, 0xee) // mov r14, r13
    guest.raw(0x8b, 0x83, ...place(ConsolePage.offset.outProd)) // mov eax, [rbx + outProd]
    guest.raw(0x89, 0xc1, 0x81, 0xe1, ...place(consoleOutSize - 1)) // mov ecx, eax; and ecx, 2047
    guest.raw(0x8d, 0x55, 0x61) // lea edx, [rbp + 'a']
    guest.raw(0x88, 0x94, 0x0b, ...place(ConsolePage.offset.out)) // mov [rbx + rcx + out], dl
    guest.raw(0xff, 0xc0, 0x89, 0x83, ...place(ConsolePage.offset.outProd)) // inc eax; mov [rbx + outProd], eax
    guest.raw(0xff, 0xc5, 0x83, 0xfd, 26) // inc ebp; cmp ebp, 26
    guest.raw(0x75, 0x02, 0x31, 0xed) // jne +2; xor ebp, ebp
    guest.send(consolePort)
    guest.hypercall(Hypercall.vcpuOp, runstateInfo, 0, runstate)
    guest.move(rdi, runstate).raw(0x48, 0x8b, 0x47, 0x08) // mov rax, [rdi + 8], when it woke
    guest.raw(0x48, 0x05, ...place(sleepMs * 1_000_000)) // add rax, …
    guest.move(rdi, poll).raw(0x48, 0x89, 0x47, 0x10) // mov [rdi + 16], rax, until when it sleeps
    guest.hypercall(Hypercall.schedOp, pollOp, poll)
  })
  return guest.kernel()
}

/** True when each letter follows the one before. */
export function isUnbroken(letters: string): boolean {
  const places = [...letters].map(letter => letter.charCodeAt(0) - 97)
  return places.every((place, index) => index === 0 || place === (places[index - 1] + 1) % 26)
}
