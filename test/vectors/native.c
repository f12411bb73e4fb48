/*
 * Runs single instructions on the processor of this machine and reports what they did: the native side of the test vectors.
 *
 * Standard input is a sequence of groups, each a `struct group` and `count` input states; standard output gets one output
 * state per input state, in the same order. Everything that chooses inputs is TypeScript (inputs.ts); this program only
 * loads a state, runs the code bytes at their address, and reads the state back when the code reaches an INT3 or faults.
 *
 *   0x00008000  2 pages  data window for 16-bit addresses (only where the kernel permits such a mapping)
 *   0x10000000  2 pages  data; the page after it is not mapped
 *   0x10004000  1 page   read-only, zero
 *   0x10010000  2 pages  code, filled with INT3
 *   0x10020000  2 pages  stack
 *
 * A state is entered by IRETQ, which loads RIP, RSP, RFLAGS and the code segment (64-bit or compatibility mode) at once, and
 * left through a signal handler on its own stack. The signal frame holds the registers and the FXSAVE image.
 *
 * Build: gcc -O2 -fno-stack-protector -o native native.c
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <ucontext.h>
#include <unistd.h>

#define PAGE 0x1000u
#define LOW 0x00008000u
#define DATA 0x10000000u
#define READ_ONLY 0x10004000u
#define CODE 0x10010000u
#define STACK 0x10020000u
#define STACK_WINDOW (STACK + PAGE - 384)
#define DATA_BYTES 640
#define STACK_BYTES 512

/* Same offsets as state.ts. */
struct state {
  uint64_t gpr[16]; /* RAX RCX RDX RBX RSP RBP RSI RDI R8 ... R15 */
  uint64_t rip;
  uint64_t rflags;
  uint64_t fs_base;
  uint64_t gs_base;
  uint32_t fault; /* 0, or 0x100 + vector */
  uint32_t error_code;
  uint64_t cr2;
  uint16_t selector[6]; /* ES CS SS DS FS GS */
  uint16_t spare[2];
  uint8_t fx[512]; /* FXSAVE64 image */
  uint8_t data[DATA_BYTES];
  uint8_t stack[STACK_BYTES];
};

struct group {
  uint32_t count;
  uint32_t bits; /* 64 or 32 */
  uint32_t code_address;
  uint32_t data_address; /* of the data window */
  uint32_t code_length;
  uint8_t code[28];
};

struct frame {
  uint64_t rip, cs, rflags, rsp, ss;
};

static struct state in __attribute__((aligned(64), used));
static struct state out __attribute__((aligned(64), used));
static struct frame entry_frame __attribute__((aligned(64), used));
static uint64_t harness_rsp __attribute__((used));
static uint64_t harness_fs_base __attribute__((used));
static uint8_t signal_stack[65536] __attribute__((aligned(64)));
extern const uint8_t enter_iret[];
static const char *current_case = "";

/* Saves the harness, loads `in`, and enters the code; comes back through leave_code. */
__attribute__((naked, noinline)) static void enter_code(void) {
  __asm__ volatile(
      "push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15\n"
      "rdfsbase %rax; mov %rax, harness_fs_base(%rip)\n"
      "mov %rsp, harness_rsp(%rip)\n"
      "fxrstor64 in+192(%rip)\n"
      "mov in+176(%rip), %es; mov in+182(%rip), %ds; mov in+184(%rip), %fs; mov in+186(%rip), %gs\n"
      "mov in+144(%rip), %rax; wrfsbase %rax\n"
      "mov in+152(%rip), %rax; wrgsbase %rax\n"
      "lea entry_frame(%rip), %rsp\n"
      "mov in+0(%rip), %rax; mov in+8(%rip), %rcx; mov in+16(%rip), %rdx; mov in+24(%rip), %rbx\n"
      "mov in+40(%rip), %rbp; mov in+48(%rip), %rsi; mov in+56(%rip), %rdi\n"
      "mov in+64(%rip), %r8; mov in+72(%rip), %r9; mov in+80(%rip), %r10; mov in+88(%rip), %r11\n"
      "mov in+96(%rip), %r12; mov in+104(%rip), %r13; mov in+112(%rip), %r14; mov in+120(%rip), %r15\n"
      ".global enter_iret\n"
      "enter_iret: iretq\n");
}

__attribute__((naked, noinline, noreturn)) static void leave_code(void) {
  __asm__ volatile(
      "mov harness_rsp(%rip), %rsp\n"
      "push $2; popfq\n" /* NT would make the next IRETQ fault */
      "pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx\n"
      "ret\n");
}

static void give_up(const char *why) {
  static const char tail[] = "\n";
  (void)!write(2, why, strlen(why));
  (void)!write(2, current_case, strlen(current_case));
  (void)!write(2, tail, 1);
  _exit(1);
}

static void on_signal(int signal_number, siginfo_t *info, void *context) {
  uint64_t fs_base;
  __asm__ volatile("rdfsbase %0; wrfsbase %1" : "=&r"(fs_base) : "r"(harness_fs_base));
  (void)info;
  const greg_t *regs = ((ucontext_t *)context)->uc_mcontext.gregs;
  if (signal_number == SIGALRM) give_up("the code does not end: ");
  if ((uintptr_t)regs[REG_RIP] == (uintptr_t)enter_iret) give_up("the input state cannot be entered: ");
  static const int order[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                                REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};
  for (int i = 0; i < 16; i++) out.gpr[i] = (uint64_t)regs[order[i]];
  out.rip = (uint64_t)regs[REG_RIP];
  out.rflags = (uint64_t)regs[REG_EFL] & ~0x10000ull; /* RF is the exception's, not the instruction's */
  out.fs_base = fs_base;
  __asm__ volatile("rdgsbase %0" : "=r"(out.gs_base));
  __asm__ volatile("mov %%es, %0; mov %%ds, %1; mov %%fs, %2; mov %%gs, %3"
                   : "=m"(out.selector[0]), "=m"(out.selector[3]), "=m"(out.selector[4]), "=m"(out.selector[5]));
  out.selector[1] = (uint16_t)regs[REG_CSGSFS];
  out.selector[2] = (uint16_t)((uint64_t)regs[REG_CSGSFS] >> 48);
  int vector = (int)regs[REG_TRAPNO];
  out.fault = out.error_code = 0;
  out.cr2 = 0;
  if (vector == 3) {
    out.rip -= 1;
  } else {
    out.fault = 0x100 + (uint32_t)vector;
    if (vector == 13 || vector == 14 || vector == 12 || vector == 11 || vector == 17) out.error_code = (uint32_t)regs[REG_ERR];
    if (vector == 14) out.cr2 = (uint64_t)regs[REG_CR2];
  }
  memcpy(out.fx, ((ucontext_t *)context)->uc_mcontext.fpregs, 416);
  memcpy(out.fx + 28, in.fx + 28, 4); /* MXCSR_MASK is the processor's, not the instruction's */
  memcpy(out.fx + 416, in.fx + 416, 96);
  leave_code();
}

static void map(uint32_t address, uint32_t bytes, int protection, int required) {
  void *want = (void *)(uintptr_t)address;
  void *got = mmap(want, bytes, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  if (got != want && required) give_up("cannot map the fixed addresses");
}

static int all_zero(const uint8_t *from, const uint8_t *to) {
  for (; from < to; from += 8)
    if (*(const uint64_t *)from) return 0;
  return 1;
}

/* Nothing outside the windows may have been written: that would be a mistake in the generator. */
static int only_windows_changed(uint8_t *data) {
  uint8_t *page = (uint8_t *)(uintptr_t)((uintptr_t)data < DATA ? LOW : DATA);
  uint8_t *stack = (uint8_t *)(uintptr_t)STACK, *window = (uint8_t *)(uintptr_t)STACK_WINDOW;
  return all_zero(page, data) && all_zero(data + DATA_BYTES, page + 2 * PAGE) && all_zero(stack, window) &&
         all_zero(window + STACK_BYTES, stack + 2 * PAGE);
}

static void run(const struct group *group) {
  uint8_t *data = (uint8_t *)(uintptr_t)group->data_address;
  uint8_t *stack = (uint8_t *)(uintptr_t)STACK_WINDOW;
  memcpy(data, in.data, DATA_BYTES);
  memcpy(stack, in.stack, STACK_BYTES);
  in.rip = group->code_address;
  entry_frame = (struct frame){in.rip, in.selector[1], in.rflags, in.gpr[4], in.selector[2]};
  enter_code();
  if (group->bits == 32) {
    for (int i = 0; i < 8; i++) out.gpr[i] &= 0xffffffff;
    for (int i = 8; i < 16; i++) out.gpr[i] = 0;
  }
  memcpy(out.data, data, DATA_BYTES);
  memcpy(out.stack, stack, STACK_BYTES);
  if (!only_windows_changed(data)) {
    fprintf(stderr, "data window %#x, rdi %#lx then %#lx, fault %#x\n", group->data_address, in.gpr[7], out.gpr[7], out.fault);
    give_up("a write outside the windows: ");
  }
  memset(data, 0, DATA_BYTES);
  memset(stack, 0, STACK_BYTES);
}

static void describe(char *text, const struct group *group) {
  text += sprintf(text, "%u-bit code", group->bits);
  for (uint32_t i = 0; i < group->code_length; i++) text += sprintf(text, " %02x", group->code[i]);
}

int main(void) {
  map(LOW, 2 * PAGE, PROT_READ | PROT_WRITE, 0);
  map(DATA, 2 * PAGE, PROT_READ | PROT_WRITE, 1);
  map(READ_ONLY, PAGE, PROT_READ, 1);
  map(CODE, 2 * PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, 1);
  map(STACK, 2 * PAGE, PROT_READ | PROT_WRITE, 1);
  memset((void *)(uintptr_t)CODE, 0xcc, 2 * PAGE);
  (void)*(volatile uint8_t *)(uintptr_t)READ_ONLY; /* a page not yet touched would fault as not present */

  stack_t alternate = {.ss_sp = signal_stack, .ss_size = sizeof signal_stack};
  sigaltstack(&alternate, NULL);
  struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};
  const int signals[] = {SIGTRAP, SIGSEGV, SIGILL, SIGFPE, SIGBUS, SIGALRM};
  for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) sigaction(signals[i], &action, NULL);

  static struct group group;
  static char text[128];
  while (fread(&group, sizeof group, 1, stdin) == 1) {
    describe(text, &group);
    current_case = text;
    memcpy((void *)(uintptr_t)group.code_address, group.code, group.code_length);
    struct itimerval limit = {.it_value = {.tv_sec = 20}};
    setitimer(ITIMER_REAL, &limit, NULL);
    for (uint32_t i = 0; i < group.count; i++) {
      if (fread(&in, sizeof in, 1, stdin) != 1) give_up("input ends early: ");
      memset(&out, 0, sizeof out);
      run(&group);
      if (fwrite(&out, sizeof out, 1, stdout) != 1) give_up("cannot write: ");
    }
    memset((void *)(uintptr_t)group.code_address, 0xcc, group.code_length);
  }
  fflush(stdout);
  return 0;
}
