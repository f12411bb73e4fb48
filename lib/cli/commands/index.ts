/**
 * The list of commands, sorted as `xl help` shows them. The name is the file; a module is loaded when its command is used.
 */
import type {Command} from '../command.js'

const modules: Record<string, () => Promise<{default: Command}>> = {
  console: () => import('./console.js'),
  'cpu-check': () => import('./cpu-check.js'),
  create: () => import('./create.js'),
  'debug-keys': () => import('./debug-keys.js'),
  destroy: () => import('./destroy.js'),
  dmesg: () => import('./dmesg.js'),
  domid: () => import('./domid.js'),
  domname: () => import('./domname.js'),
  'dump-core': () => import('./dump-core.js'),
  evacuate: () => import('./evacuate.js'),
  fork: () => import('./fork.js'),
  help: () => import('./help.js'),
  image: () => import('./image.js'),
  info: () => import('./info.js'),
  list: () => import('./list.js'),
  'mem-max': () => import('./mem-max.js'),
  'mem-set': () => import('./mem-set.js'),
  migrate: () => import('./migrate.js'),
  'migrate-receive': () => import('./migrate-receive.js'),
  pause: () => import('./pause.js'),
  reboot: () => import('./reboot.js'),
  rename: () => import('./rename.js'),
  restore: () => import('./restore.js'),
  save: () => import('./save.js'),
  sharing: () => import('./sharing.js'),
  shutdown: () => import('./shutdown.js'),
  sysrq: () => import('./sysrq.js'),
  unpause: () => import('./unpause.js'),
  uptime: () => import('./uptime.js'),
  'vcpu-list': () => import('./vcpu-list.js'),
  'vm-list': () => import('./vm-list.js'),
}

/** All names, sorted. */
export const commandNames: readonly string[] = Object.keys(modules)

/** The name that a word means: itself, else the one name it is the beginning of. */
export function lookUp(word: string): string | undefined {
  if (commandNames.includes(word)) return word
  const fitting = commandNames.filter(name => name.startsWith(word))
  return fitting.length === 1 ? fitting[0] : undefined
}

/** The command of that name. */
export async function loadCommand(name: string): Promise<Command> {
  return (await modules[name]()).default
}
