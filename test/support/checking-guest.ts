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
import {Shutdown, TinyGuest} from './tiny-guest.js'

/** What it prints when a word is not as it was left. */
export const patternBroken = '#'

const firstLetter = 'a'.charCodeAt(0)
const step = 0x9e3779b97f4a7c15n
const runstateInfo = 4 // VCPUOP_get_runstate_info
const pollOp = 3 // SCHEDOP_poll

/** Its kernel. `pages`: how many are written in each turn; `sleepMs`: how long it sleeps between two. */
export function checkingGuest({pages = 128, sleepMs = 5} = {}): Uint8Array {
  const guest = new TinyGuest()
  const first = guest.data(new Uint8Array(pages * 4096))
  const runstate = guest.data(new Uint8Array(48))
  const poll = guest.data(new Uint8Array(24))
  const {out, outProd, outCons} = ConsolePage.offset
  guest.move('r12', first).move('r15', first + BigInt(pages * 4096))
  guest.move('r14', step).code('xor ebp,ebp; mov rdi,r12')
  guest.repeatBelow(() => guest.code('lea rax,[rdi+r14]; mov [rdi],rax; add rdi,8; cmp rdi,r15'))
  guest.forEver(() => {
    guest.move('rax', step).code('lea r13,[r14+rax]; mov rdi,r12')
    guest.repeatBelow(() => {
      guest.code('lea rax,[rdi+r14]; cmp rax,[rdi]')
      guest.unlessEqual(() => {
        guest.code(`mov BYTE PTR [rbx+${out}],${patternBroken.charCodeAt(0)}; mov eax,[rbx+${outCons}]`)
        guest.code(`add eax,${consoleOutSize}; and eax,${-consoleOutSize}; inc eax; mov [rbx+${outProd}],eax`)
        guest.send(consolePort).shutDown(Shutdown.crash)
      })
      guest.code('lea rax,[rdi+r13]; mov [rdi],rax; add rdi,8; cmp rdi,r15')
    })
    guest.code(`mov r14,r13; mov eax,[rbx+${outProd}]; mov ecx,eax; and ecx,${consoleOutSize - 1}`)
    guest.code(`lea edx,[rbp+${firstLetter}]; mov [rbx+rcx+${out}],dl; inc eax; mov [rbx+${outProd}],eax`)
    guest.code('xor eax,eax; inc ebp; cmp ebp,26; cmove ebp,eax')
    guest.send(consolePort)
    guest.hypercall(Hypercall.vcpuOp, runstateInfo, 0, runstate)
    // When it woke, and until when it sleeps.
    guest.move('rdi', runstate).code(`mov rax,[rdi+8]; add rax,${sleepMs * 1_000_000}`)
    guest.move('rdi', poll).code('mov [rdi+16],rax')
    guest.hypercall(Hypercall.schedOp, pollOp, poll)
  })
  return guest.kernel()
}

/** True when each letter follows the one before. */
export function isUnbroken(letters: string): boolean {
  const places = [...letters].map(letter => letter.charCodeAt(0) - 97)
  return places.every((place, index) => index === 0 || place === (places[index - 1] + 1) % 26)
}
