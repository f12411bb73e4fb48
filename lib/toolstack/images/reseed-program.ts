/**
 * /sbin/reseed of the ramdisk, for what BusyBox has no program: it passes one message of up to 4 KiB from standard input on to standard output, the
 * kernel's random device, and lets that seed its generator anew, from all that was ever mixed in and from the processor's RDSEED.
 *
 *   ELF header │ one program header │ code     all of it in memory at `base`, readable and executable
 *
 * It exits with 0, or with 1 at the end of its input.
 * Source: ELF-64 Object File Format 1.5; System V ABI, AMD64; linux/random.h.
 */
import {bytes, struct, u16, u32, u53} from '../../base/struct.js'

const FileHeader = struct({
  ident: bytes(16),
  type: u16,
  machine: u16,
  version: u32,
  entry: u53,
  programHeaders: u53,
  sectionHeaders: u53,
  flags: u32,
  headerBytes: u16,
  programHeaderBytes: u16,
  programHeaderCount: u16,
  sectionHeaderBytes: u16,
  sectionHeaderCount: u16,
  sectionNames: u16,
})
const ProgramHeader = struct({
  type: u32,
  flags: u32,
  offset: u53,
  virtualAddress: u53,
  physicalAddress: u53,
  fileBytes: u53,
  memoryBytes: u53,
  align: u53,
})

const base = 0x400000

// biome-ignore format: one instruction a line
const code = [
  0x31, 0xff,                                     // xor edi, edi            standard input
  0x48, 0x8d, 0xb4, 0x24, 0x00, 0xf0, 0xff, 0xff, // lea rsi, [rsp - 4096]
  0xba, 0x00, 0x10, 0x00, 0x00,                   // mov edx, 4096
  0x31, 0xc0,                                     // xor eax, eax            read
  0x0f, 0x05,                                     // syscall
  0xbb, 0x01, 0x00, 0x00, 0x00,                   // mov ebx, 1
  0x85, 0xc0,                                     // test eax, eax
  0x7e, 0x16,                                     // jle exit
  0x89, 0xc2,                                     // mov edx, eax
  0x89, 0xdf,                                     // mov edi, ebx            standard output
  0x89, 0xd8,                                     // mov eax, ebx            write
  0x0f, 0x05,                                     // syscall
  0xbe, 0x07, 0x52, 0x00, 0x00,                   // mov esi, 0x5207         RNDRESEEDCRNG
  0xb8, 0x10, 0x00, 0x00, 0x00,                   // mov eax, 16             ioctl
  0x0f, 0x05,                                     // syscall
  0x31, 0xdb,                                     // xor ebx, ebx
  0x89, 0xdf,                                     // exit: mov edi, ebx
  0xb8, 0x3c, 0x00, 0x00, 0x00,                   // mov eax, 60             exit
  0x0f, 0x05,                                     // syscall
]

/** The program file. */
export const reseedProgram: Uint8Array = programFile(Uint8Array.from(code))

function programFile(program: Uint8Array): Uint8Array {
  const start = FileHeader.size + ProgramHeader.size
  const file = new Uint8Array(start + program.length)
  const view = new DataView(file.buffer)
  FileHeader.write(view, 0, {
    ident: Uint8Array.of(0x7f, 0x45, 0x4c, 0x46, 2, 1, 1), // ELFCLASS64, ELFDATA2LSB, EV_CURRENT
    type: 2, // ET_EXEC
    machine: 62, // EM_X86_64
    version: 1,
    entry: base + start,
    programHeaders: FileHeader.size,
    sectionHeaders: 0,
    flags: 0,
    headerBytes: FileHeader.size,
    programHeaderBytes: ProgramHeader.size,
    programHeaderCount: 1,
    sectionHeaderBytes: 0,
    sectionHeaderCount: 0,
    sectionNames: 0,
  })
  ProgramHeader.write(view, FileHeader.size, {
    type: 1, // PT_LOAD
    flags: 5, // PF_R | PF_X
    offset: 0,
    virtualAddress: base,
    physicalAddress: base,
    fileBytes: file.length,
    memoryBytes: file.length,
    align: 0x1000,
  })
  file.set(program, start)
  return file
}
