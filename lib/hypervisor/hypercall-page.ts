/**
 * The hypercall page: code that the hypervisor puts into a guest which asks for it, 32 bytes for each hypercall number. Newer Linux
 * kernels bring their own and do not ask.
 *
 *   most    push rcx; push r11; mov eax, NUMBER; syscall; pop r11; pop rcx; ret
 *   iret    push rcx; push r11; push rax; mov eax, 23; syscall           it does not return
 *
 * Source: xen/arch/x86/pv/hypercall.c.
 */

const stubBytes = 32
const stubs = 4096 / stubBytes
const iretNumber = 23 // __HYPERVISOR_iret
const breakpoint = 0xcc

/** Fills one page with stubs for a 64-bit PV guest. */
export function fillHypercallPage(page: Uint8Array): void {
  page.fill(breakpoint)
  for (let number = 0; number < stubs; number++) {
    const stub =
      number === iretNumber
        ? [0x51, 0x41, 0x53, 0x50, 0xb8, number, 0, 0, 0, 0x0f, 0x05]
        : [0x51, 0x41, 0x53, 0xb8, number, 0, 0, 0, 0x0f, 0x05, 0x41, 0x5b, 0x59, 0xc3]
    page.set(stub, number * stubBytes)
  }
}
