/** What a configuration wants done with a domain whose guest has shut down. */
import type {DomainAction, DomainConfig} from '../control/domain-config.js'
import type {ShutdownReason} from '../control/protocol.js'

export interface ShutdownAction {
  /** As the configuration has it. */
  readonly name: DomainAction
  /** A core is written first. */
  readonly dumpsCore: boolean
  readonly next: 'preserve' | 'destroy' | 'restart' | 'rename-restart'
}

export function shutdownAction(config: DomainConfig, reason: ShutdownReason): ShutdownAction {
  const name = {
    poweroff: config.onPoweroff,
    reboot: config.onReboot,
    suspend: 'preserve' as const,
    crash: config.onCrash,
    watchdog: config.onWatchdog,
    soft_reset: config.onSoftReset,
  }[reason]
  const dumpsCore = name === 'coredump-destroy' || name === 'coredump-restart'
  if (name === 'preserve' || name === 'rename-restart') return {name, dumpsCore, next: name}
  return {name, dumpsCore, next: name === 'destroy' || name === 'coredump-destroy' ? 'destroy' : 'restart'}
}
