/**
 * Addition, subtraction, logic, compare, increment; XADD, CMPXCHG, CMPXCHG8B/16B, ADCX, ADOX, CRC32; moves, exchanges, extensions,
 * conditional moves and sets, byte swaps.
 */
import type {Generator} from '../generator.js'
import type {Family} from './index.js'

const arithmetic = ['ADD', 'OR', 'ADC', 'SBB', 'AND', 'SUB', 'XOR', 'CMP']

/** The eight operations that share one pattern of opcodes. */
function arithmeticForms(): string {
  return arithmetic
    .map((name, number) => {
      const undefinedFlags = ['OR', 'AND', 'XOR'].includes(name) ? 'undef=AF' : ''
      const lock = name === 'CMP' ? '' : 'lock'
      const opcode = (low: number) => (number * 8 + low).toString(16).toUpperCase().padStart(2, '0')
      return `
        ${name} Eb,Gb  | ${opcode(0)} /r | ${lock} ${undefinedFlags}
        ${name} Ev,Gv  | ${opcode(1)} /r | ${lock} ${undefinedFlags}
        ${name} Gb,Eb  | ${opcode(2)} /r | ${undefinedFlags}
        ${name} Gv,Ev  | ${opcode(3)} /r | ${undefinedFlags}
        ${name} AL,Ib  | ${opcode(4)} | ${undefinedFlags}
        ${name} rAX,Iz | ${opcode(5)} | ${undefinedFlags}
        ${name} Eb,Ib  | 80 /${number} | ${lock} ${undefinedFlags}
        ${name} Ev,Iz  | 81 /${number} | ${lock} ${undefinedFlags}
        ${name} Ev,Ib  | 83 /${number} | ${lock} ${undefinedFlags}
        ${name} Eb,Ib  | 82 /${number} | only32 ${undefinedFlags}`
    })
    .join('\n')
}

const conditions = ['O', 'NO', 'B', 'NB', 'Z', 'NZ', 'BE', 'NBE', 'S', 'NS', 'P', 'NP', 'L', 'NL', 'LE', 'NLE']

function conditionForms(): string {
  return conditions
    .map((name, number) => {
      const digit = number.toString(16).toUpperCase()
      return `
        CMOV${name} Gv,Ev | 0F 4${digit} /r | weight=0.6
        SET${name} Eb | 0F 9${digit} /0`
    })
    .join('\n')
}

const singles = `
  TEST Eb,Gb  | 84 /r | undef=AF
  TEST Ev,Gv  | 85 /r | undef=AF
  TEST AL,Ib  | A8 | undef=AF
  TEST rAX,Iz | A9 | undef=AF
  TEST Eb,Ib  | F6 /0 | undef=AF
  TEST Ev,Iz  | F7 /0 | undef=AF
  TEST Eb,Ib alias | F6 /1 | undef=AF weight=0.5
  NOT Eb | F6 /2 | lock
  NOT Ev | F7 /2 | lock
  NEG Eb | F6 /3 | lock
  NEG Ev | F7 /3 | lock
  INC Eb | FE /0 | lock
  INC Ev | FF /0 | lock
  DEC Eb | FE /1 | lock
  DEC Ev | FF /1 | lock
  INC Zv | 40 +r | only32
  DEC Zv | 48 +r | only32
  XADD Eb,Gb | 0F C0 /r | lock
  XADD Ev,Gv | 0F C1 /r | lock
  CMPXCHG Eb,Gb | 0F B0 /r | lock weight=2
  CMPXCHG Ev,Gv | 0F B1 /r | lock weight=2
  CMPXCHG8B Mq  | 0F C7 /1 | lock align=8 weight=2
  CMPXCHG16B Mx | REX.W 0F C7 /1 | lock only64 weight=2
  ADCX Gy,Ey | 66 0F 38 F6 /r
  ADOX Gy,Ey | F3 0F 38 F6 /r
  CRC32 Gd,Eb | F2 0F 38 F0 /r
  CRC32 Gd,Ew | F2 0F 38 F1 /r | sizes=16
  CRC32 Gy,Ey | F2 0F 38 F1 /r
  XCHG Eb,Gb | 86 /r | lock
  XCHG Ev,Gv | 87 /r | lock
  XCHG Zv,rAX | 90 +r | weight=3
  MOV Eb,Gb | 88 /r
  MOV Ev,Gv | 89 /r
  MOV Gb,Eb | 8A /r
  MOV Gv,Ev | 8B /r
  MOV Zb,Ib | B0 +r | weight=2
  MOV Zv,Iv | B8 +r | weight=2
  MOV Eb,Ib | C6 /0
  MOV Ev,Iz | C7 /0
  MOVZX Gv,Eb | 0F B6 /r
  MOVZX Gv,Ew | 0F B7 /r
  MOVSX Gv,Eb | 0F BE /r
  MOVSX Gv,Ew | 0F BF /r
  MOVSXD Gv,Ed | 63 /r | only64 sizes=32,64
  MOVSXD Gv,Ew | 63 /r | only64 sizes=16
  MOVBE Gv,Mv | 0F 38 F0 /r
  MOVBE Mv,Gv | 0F 38 F1 /r
  MOVNTI My,Gy | NP 0F C3 /r
  BSWAP Zy | 0F C8 +r | weight=2
  CBW | 98 | sizes=16,32,64
  CWD | 99 | sizes=16,32,64
  LAHF | 9F
  SAHF | 9E
  CLC | F8
  STC | F9
  CMC | F5
  CLD | FC
  STD | FD
  NOP Ev | 0F 1F /0
  NOP | 90
  PAUSE | F3 90
  AAA | 37 | only32 undef=OF,SF,ZF,PF
  AAS | 3F | only32 undef=OF,SF,ZF,PF
  DAA | 27 | only32 undef=OF weight=4
  DAS | 2F | only32 undef=OF weight=4
  AAM Ib | D4 | only32 undef=OF,AF,CF imm=1-255 weight=2
  AAM 10 | D4 0A | only32 undef=OF,AF,CF weight=2
  AAM 0 | D4 00 | only32 undef=OF,AF,CF,SF,ZF,PF weight=0.3
  AAD Ib | D5 | only32 undef=OF,AF,CF weight=2
  AAD 10 | D5 0A | only32 undef=OF,AF,CF
  SALC | D6 | only32
  RDFSBASE Ry | F3 0F AE /0 | only64
  RDGSBASE Ry | F3 0F AE /1 | only64
`

export const integerAlu: Family = {
  name: 'integer-alu',
  density: {registerGroups: 4, memoryGroups: 4, casesPerGroup: 16},
  generate(generator: Generator) {
    generator.table(arithmeticForms())
    generator.table(conditionForms())
    generator.table(singles)
  },
}
