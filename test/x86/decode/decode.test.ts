/**
 * Bytes → instruction, its operands and memory operand, as text. What instructions do is checked by the vectors; here: prefixes, ModRM and SIB,
 * sizes, immediates, lengths, and what is no instruction.
 *
 * Source: SDM vol. 2A chapter 2.
 */
import t from 'tap'
import {disassemble} from '../../../lib/x86/decode/disassemble.js'
import {decode} from '../../../lib/x86/instruction-set.js'

const rip = 0x1000

/** The instruction as text, or why there is none. */
function text(hex: string, bits: 64 | 32 | 16): string {
  const bytes = Buffer.from(hex.replaceAll(' ', ''), 'hex')
  // Behind the instruction there is always something.
  const decoded = decode(Buffer.concat([bytes, Buffer.alloc(15, 0xcc)]), 0, rip, bits)
  if (typeof decoded === 'string') return decoded
  const extra = decoded.length === bytes.length ? '' : ` (${decoded.length} bytes)`
  return disassemble(decoded, rip).replace(/ +/g, ' ') + extra
}

const rows: [title: string, bits: 64 | 32 | 16, rows: [hex: string, expected: string][]][] = [
  [
    'operand sizes in 64-bit code',
    64,
    [
      ['01 c8', 'add eax,ecx'],
      ['48 01 c8', 'add rax,rcx'],
      ['66 01 c8', 'add ax,cx'],
      ['66 48 01 c8', 'add rax,rcx'],
      ['00 e1', 'add cl,ah'],
      ['40 00 e1', 'add cl,spl'],
      ['45 01 c8', 'add r8d,r9d'],
      ['48 66 01 c8', 'add ax,cx'],
      ['50', 'push rax'],
      ['66 50', 'push ax'],
      ['41 57', 'push r15'],
    ],
  ],
  [
    'immediates',
    64,
    [
      ['83 c0 ff', 'add eax,0xffffffff'],
      ['48 81 c0 00 00 00 80', 'add rax,0xffffffff80000000'],
      ['66 81 c0 34 12', 'add ax,0x1234'],
      ['48 b8 88 77 66 55 44 33 22 11', 'movabs rax,0x1122334455667788'],
      ['c8 34 12 02', 'enter 0x1234,0x2'],
      ['d1 e0', 'shl eax,1'],
      ['d3 e0', 'shl eax,cl'],
    ],
  ],
  [
    'relative branches hold their target',
    64,
    [
      ['eb fe', 'jmp 0x1000'],
      ['e9 00 01 00 00', 'jmp 0x1105'],
      ['74 10', 'je 0x1012'],
    ],
  ],
  [
    'ModRM and SIB in 64-bit code',
    64,
    [
      ['8b 00', 'mov eax,DWORD PTR [rax]'],
      ['8b 40 80', 'mov eax,DWORD PTR [rax-0x80]'],
      ['8b 80 00 01 00 00', 'mov eax,DWORD PTR [rax+0x100]'],
      ['8b 04 24', 'mov eax,DWORD PTR [rsp]'],
      ['41 8b 04 24', 'mov eax,DWORD PTR [r12]'],
      ['8b 04 8a', 'mov eax,DWORD PTR [rdx+rcx*4]'],
      ['42 8b 04 a2', 'mov eax,DWORD PTR [rdx+r12*4]'],
      ['8b 04 25 10 00 00 00', 'mov eax,DWORD PTR ds:0x10'],
      ['8b 04 8d 10 00 00 00', 'mov eax,DWORD PTR [rcx*4+0x10]'],
      ['8b 44 8d 10', 'mov eax,DWORD PTR [rbp+rcx*4+0x10]'],
      ['41 8b 45 00', 'mov eax,DWORD PTR [r13+0x0]'],
      ['67 8b 00', 'mov eax,DWORD PTR [eax]'],
    ],
  ],
  [
    'RIP-relative operands count from the end of the instruction',
    64,
    [
      ['8b 05 10 00 00 00', 'mov eax,DWORD PTR [rip+0x10] # 0x1016'],
      ['83 3d 10 00 00 00 05', 'cmp DWORD PTR [rip+0x10],0x5 # 0x1017'],
      ['67 8b 05 10 00 00 00', 'mov eax,DWORD PTR [eip+0x10] # 0x1017'],
    ],
  ],
  [
    'segments: in 64-bit code only FS and GS count',
    64,
    [
      ['64 8b 00', 'mov eax,DWORD PTR fs:[rax]'],
      ['2e 8b 00', 'mov eax,DWORD PTR [rax]'],
      ['65 3e 8b 00', 'mov eax,DWORD PTR gs:[rax]'],
      ['8e d8', 'mov ds,eax'],
      ['8e c8', 'mov cs,eax'],
    ],
  ],
  [
    'segments and addresses in 32-bit code',
    32,
    [
      ['8b 00', 'mov eax,DWORD PTR [eax]'],
      ['8b 45 04', 'mov eax,DWORD PTR [ebp+0x4]'],
      ['8b 05 10 00 00 00', 'mov eax,DWORD PTR ds:0x10'],
      ['2e 8b 04 24', 'mov eax,DWORD PTR cs:[esp]'],
      ['40', 'inc eax'],
      ['67 8b 07', 'mov eax,DWORD PTR [bx]'],
      ['67 8b 42 fe', 'mov eax,DWORD PTR [bp+si-0x2]'],
      ['67 8b 06 34 12', 'mov eax,DWORD PTR ds:0x1234'],
      ['66 8b 00', 'mov ax,WORD PTR [eax]'],
    ],
  ],
  [
    '16-bit code',
    16,
    [
      ['8b 07', 'mov ax,WORD PTR [bx]'],
      ['66 67 8b 00', 'mov eax,DWORD PTR [eax]'],
    ],
  ],
  [
    'prefixes that mean something',
    64,
    [
      ['f0 01 08', 'lock add DWORD PTR [rax],ecx'],
      ['f3 a4', 'rep movs BYTE PTR es:[rdi],BYTE PTR ds:[rsi]'],
      ['f2 ae', 'repnz scas al,BYTE PTR es:[rdi]'],
      ['f3 90', 'pause'],
      ['90', 'nop'],
      ['41 90', 'xchg r8d,eax'],
      ['f3 0f b8 c1', 'popcnt eax,ecx'],
      ['66 0f 6f c1', 'movdqa xmm0,xmm1'],
      ['66 f3 0f 6f c1', 'movdqu xmm0,xmm1'],
      ['f2 66 0f 38 f1 c1', 'crc32 eax,cx'],
      ['f2 48 0f 38 f1 c1', 'crc32 rax,rcx'],
      ['66 0f 38 f1 08', 'movbe WORD PTR [rax],cx'],
      ['c4 e2 70 f2 c2', 'andn eax,ecx,edx'],
      ['c4 62 f0 f2 c2', 'andn r8,rcx,rdx'],
    ],
  ],
  [
    'no instructions',
    64,
    [
      ['06', 'undefined'],
      ['0f 0b', 'ud2'],
      ['f0 01 c8', 'undefined'],
      ['f0 8b 08', 'undefined'],
      ['8d c0', 'undefined'],
      ['0f c7 c8', 'undefined'],
      ['66 c4 e2 70 f2 c2', 'undefined'],
      // AVX, AVX2, FMA, AVX-512: not offered, so what CPUID does not say is not there.
      ['c5 f8 77', 'undefined'],
      ['c5 f8 58 c1', 'undefined'],
      ['c5 f5 fe c2', 'undefined'],
      ['c4 e2 f5 98 c2', 'undefined'],
      ['62 f1 74 48 58 c2', 'undefined'],
      ['8e f0', 'undefined'],
    ],
  ],
]

for (const [title, bits, list] of rows) {
  t.test(title, async t => {
    for (const [hex, expected] of list) t.equal(text(hex, bits), expected, hex)
  })
}

t.test('15 bytes are the most', async t => {
  t.equal(text(`${'66'.repeat(13)}01c8`, 64), 'add ax,cx')
  t.equal(text(`${'66'.repeat(14)}01c8`, 64), 'too-long')
})

t.test('every cut of an instruction asks for more bytes', async t => {
  for (const hex of ['48b88877665544332211', '6764f081848d1000000078563412', 'c4e270f2440810', '660f3adfc805'])
    for (let length = 0; length < hex.length / 2; length++)
      t.equal(decode(Buffer.from(hex, 'hex').subarray(0, length), 0, rip, 64), 'more-bytes', `${length} of ${hex}`)
})

t.test('variants: the same key for the same form and sizes, another one otherwise', async t => {
  const key = (hex: string) => {
    const decoded = decode(Buffer.concat([Buffer.from(hex, 'hex'), Buffer.alloc(15)]), 0, rip, 64)
    return typeof decoded === 'string' ? decoded : decoded.variantKey
  }
  t.equal(key('01c8'), key('01d9'))
  t.not(key('01c8'), key('4801c8'))
  t.not(key('01c8'), key('0108'))
  t.not(key('0108'), key('f00108'))
  t.not(key('c1e000'), key('c1e001'), 'a shift by zero leaves the flags')
  t.equal(key('c1e001'), key('c1e01f'))
})
