/**
 * `xl cpu-check` (ours): does the processor of this machine have hardware virtualisation, under which name, and what does that mean for
 * guests here. Our guests run on a software CPU, so nothing depends on the answer; it helps whoever compares with Xen or KVM.
 * Source: proc(5) /proc/cpuinfo; SDM vol. 3C 24.6 (VMX); AMD64 APM vol. 2 15.4 (SVM).
 */
import {readFileSync} from 'node:fs'
import {getSystemErrorMap} from 'node:util'
import {OperatorError} from '../../base/errors.js'
import {command} from '../command.js'

/** What /proc/cpuinfo says about virtualisation. */
interface CpuCheck {
  vendor: string
  model: string
  /** The flag found, or null. */
  flag: 'vmx' | 'svm' | null
  technology: 'Intel VT-x' | 'AMD-V' | null
  /** This machine is itself a guest of a hypervisor. */
  insideHypervisor: boolean
}

function check(text: string): CpuCheck {
  const field = (name: string): string => new RegExp(`^${name}\\s*:\\s*(.*)$`, 'm').exec(text)?.[1].trim() ?? 'unknown'
  const flags = new Set(field('flags').split(/\s+/))
  const flag = flags.has('vmx') ? 'vmx' : flags.has('svm') ? 'svm' : null
  return {
    vendor: field('vendor_id'),
    model: field('model name'),
    flag,
    technology: flag === 'vmx' ? 'Intel VT-x' : flag === 'svm' ? 'AMD-V' : null,
    insideHypervisor: flags.has('hypervisor'),
  }
}

const guestTypes = {
  pv: 'runs, on the software CPU; hardware virtualisation makes no difference',
  pvh: 'not in this version; will need no hardware virtualisation either',
  hvm: 'not in this version; will need no hardware virtualisation either',
}

export default command({
  name: 'cpu-check',
  summary: 'Tell whether the processor has hardware virtualisation, and what that means for guests',
  usage: '[options]',
  minimumArguments: 0,
  maximumArguments: 0,
  options: [
    ['--cpuinfo <file>', 'Read this file instead of /proc/cpuinfo'],
    ['--json', 'Print the answer as JSON'],
  ],
  async run({report, options}) {
    const path = typeof options.cpuinfo === 'string' ? options.cpuinfo : '/proc/cpuinfo'
    let text: string
    try {
      text = readFileSync(path, 'utf8')
    } catch (cause) {
      const [, reason] = getSystemErrorMap().get((cause as NodeJS.ErrnoException).errno ?? 0) ?? []
      throw new OperatorError(`cannot read "${path}": ${reason}`, {
        hint: 'give another file with --cpuinfo',
        exitCode: 2,
        cause,
      })
    }
    const found = check(text)
    if (options.json) {
      report.write(`${JSON.stringify({...found, supported: found.flag !== null, guestTypes}, null, 2)}\n`)
    } else {
      report.print(`processor       : ${found.vendor}, ${found.model}`)
      report.print(
        found.flag === null
          ? 'virtualisation  : none (neither vmx nor svm among the flags)'
          : `virtualisation  : ${found.technology} (flag ${found.flag})`,
      )
      if (found.flag === null && found.insideHypervisor) {
        report.print('                  this machine is a guest itself; its hypervisor may hide the feature')
      }
      for (const [type, meaning] of Object.entries(guestTypes))
        report.print(`${`${type} guests`.padEnd(16)}: ${meaning}`)
    }
    return found.flag === null ? 1 : 0
  },
})
