/**
 * x87 and the instructions that move whole floating-point states: one description per opcode byte, everything else in the x87 unit.
 *
 * Source: SDM vol. 1 8, vol. 2A F2XM1 … FYL2XP1, FXSAVE, FXRSTOR, vol. 2B XSAVE, XRSTOR.
 */
import {type Form, form, type Instruction, instruction} from './instruction.js'

const x87 = {feature: 'x87'}
const fxsr = {feature: 'fxsr'}
const xsave = {feature: 'xsave'}

function slow(mnemonic: string, name: string, ...forms: Form[]): Instruction {
  return instruction(mnemonic, {source: `SDM vol. 2 ${mnemonic}`, forms, execute: s => s.system(name)})
}

export const x87Instructions: Instruction[] = [
  ...['D8', 'D9', 'DA', 'DB', 'DC', 'DD', 'DE', 'DF'].map(opcode =>
    slow(`X87 ${opcode}`, 'x87', form(`${opcode} /r`, 'Ed', x87)),
  ),
  slow('FWAIT', 'fwait', form('9B', x87)),
  slow('EMMS', 'emms', form('NP 0F 77', x87)),
  slow('FXSAVE', 'fxsave', form('NP 0F AE /0', 'M', fxsr)),
  slow('FXRSTOR', 'fxrstor', form('NP 0F AE /1', 'M', fxsr)),
  slow('LDMXCSR', 'ldmxcsr', form('NP 0F AE /2', 'Md', {feature: 'sse'})),
  slow('STMXCSR', 'stmxcsr', form('NP 0F AE /3', 'Md', {feature: 'sse'})),
  slow('XSAVE', 'xsave', form('NP 0F AE /4', 'M', xsave)),
  slow('XRSTOR', 'xrstor', form('NP 0F AE /5', 'M', xsave)),
]
