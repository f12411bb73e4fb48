/**
 * Two hosts, a link between them, and one guest that checks its own memory: a domain is moved, something dies at some byte of the talk, and then it
 * must run on exactly one host, going on with the letter after the last one it printed.
 */
import {type ChildProcess, spawn} from 'node:child_process'
import {once} from 'node:events'
import {existsSync, readFileSync} from 'node:fs'
import {sendDomain} from '../../lib/cli/migration-sender.js'
import * as handshake from '../../lib/control/handshake.js'
import type {DomainRecord} from '../../lib/control/host-directory.js'
import {signalProcess} from '../../lib/control/process-identity.js'
import type {DomainStatus} from '../../lib/control/protocol.js'
import {Host} from '../../lib/toolstack/host.js'
import {checkingGuest, isUnbroken, patternBroken} from './checking-guest.js'
import {type Connection, MigrationLink, type Part} from './migration-link.js'
import {realXl, TestHost, until} from './xl.js'

/** Who can die. `xls`: both ends' xl at once. */
export const victims = ['source', 'target', 'sender', 'receiver', 'transport', 'xls'] as const
export type Victim = (typeof victims)[number]

/** A death: whose, and before which byte of which part. */
export interface Death {
  readonly victim: Victim
  readonly part: Part
  readonly at: number
}

/** Where the domain runs afterwards; `lost` is allowed for a source that dies before its copy is complete, and for a copy that dies once it runs. */
export type Ending = 'source' | 'target' | 'lost'

/** All that the receiver says before it may be sure to have the whole domain. */
const acknowledgedAt = handshake.banner.length + handshake.fits.length + handshake.received.length

/** See the file's head. */
export class MigrationHosts {
  private readonly hosts = [new TestHost(realXl), new TestHost(realXl)]
  readonly link: MigrationLink
  /** Which of the hosts the domain is on. */
  private at = 0
  /** The file the domain was created from. */
  readonly config: string
  private readonly read = [0, 0]
  private lastLetter = ''

  constructor(
    private readonly name = 'tiny',
    options: Parameters<typeof checkingGuest>[0] = {},
  ) {
    const kernel = this.hosts[0].file('tiny', checkingGuest(options))
    this.config = this.hosts[0].file(
      'tiny.cfg',
      `name = "${name}"\nkernel = "${kernel}"\nmemory = 8\non_crash = "preserve"\n`,
    )
    this.link = new MigrationLink(this.hosts[0], () => this.target)
  }

  get source(): TestHost {
    return this.hosts[this.at]
  }

  get target(): TestHost {
    return this.hosts[1 - this.at]
  }

  /** Starts the guest where none runs. */
  async start(): Promise<void> {
    const {status, stderr} = await this.source.xl(['create', '-q', this.config])
    if (status !== 0) throw new Error(stderr)
    this.lastLetter = ''
    this.skip()
    await this.seeLetters(this.at, 2)
  }

  async close(): Promise<void> {
    this.link.close()
    for (const host of this.hosts) await host.close()
  }

  /** Waits until the guest prints on where it is, or on the other host, after what it has printed here. */
  async goesOn(where: 'source' | 'target' = 'source'): Promise<void> {
    if (where === 'target') {
      this.seen(this.at)
      this.at = 1 - this.at
    }
    await this.seeLetters(this.at, 3)
  }

  /** Migrates once while something dies. Resolves to where the domain runs then; throws when that is not as it must be. */
  async migrateWith(death: Death | undefined): Promise<Ending> {
    await this.seeLetters(this.at, 1)
    let sender: ChildProcess | undefined
    if (death === undefined) this.link.expect()
    else {
      const {part, at, victim} = death
      this.link.expect({part, at, act: connection => this.kill(victim, connection, sender)})
    }
    if (death?.victim === 'sender' || death?.victim === 'xls') {
      sender = this.startSender()
      await once(sender, 'close')
    } else await this.send().catch(() => {})
    const end = await this.settled()
    await this.link.idle()
    return this.check(end, death)
  }

  private send(): Promise<unknown> {
    const host = new Host(this.source.path, '')
    const record = this.recordOn(this.source)
    if (record === undefined) throw new Error('there is no domain to send')
    return host
      .ask(record, 'status', {})
      .then(({config}) => sendDomain(host, record, config, `exec ${this.link.command}`))
  }

  private startSender(): ChildProcess {
    const words = ['migrate', '-s', this.link.command, this.name, 'there']
    return spawn('env', ['-u', 'NODE_OPTIONS', process.execPath, realXl, ...words], {
      env: this.source.environment,
      stdio: 'ignore',
    })
  }

  private recordOn(host: TestHost): DomainRecord | undefined {
    return host.directory.list()[0]
  }

  private kill(victim: Victim, {receiver, cut}: Connection, sender: ChildProcess | undefined): void {
    if (victim === 'transport') cut()
    if (victim === 'receiver' || victim === 'xls') receiver.kill('SIGKILL')
    if (victim === 'sender' || victim === 'xls') sender!.kill('SIGKILL')
    if (victim !== 'source' && victim !== 'target') return
    const record = this.recordOn(victim === 'source' ? this.source : this.target)
    if (record !== undefined) signalProcess(record.owner, 'SIGKILL')
  }

  /** Waits until one domain is there, under its own name and not held, or none. */
  private async settled(): Promise<Ending> {
    let end: Ending | undefined
    await until(async () => {
      const all = await Promise.all(this.hosts.map(host => new Host(host.path, '').statuses()))
      const here = all[this.at].filter(isRunning)
      const there = all[1 - this.at].filter(isRunning)
      if (here.length + there.length > 1) throw new Error('the domain runs on both hosts')
      if (all.flat().length > 1 || all.flat().length !== here.length + there.length) return false
      end = here.length === 1 ? 'source' : there.length === 1 ? 'target' : 'lost'
      return true
    })
    return end!
  }

  private async check(end: Ending, death: Death | undefined): Promise<Ending> {
    if (end === 'lost') {
      const isAcknowledged = death?.part === 'back' && death.at >= acknowledgedAt
      const isComplete = death?.part === 'permission' || isAcknowledged
      const mayBeLost = death?.victim === 'source' ? !isComplete : death?.victim === 'target' && isAcknowledged
      if (!mayBeLost) throw new Error('the domain runs nowhere')
      await this.start()
      return end
    }
    await this.goesOn(end)
    // What a copy printed that was killed before its sender knew of it.
    if (end === 'source') this.skip(1 - this.at)
    return end
  }

  /** Waits until the guest has printed so many letters more, and checks them. */
  private async seeLetters(at: number, count: number): Promise<void> {
    let letters = 0
    await until(() => {
      letters += this.seen(at)
      return letters >= count
    })
  }

  /** Checks what a host's guest has printed since the last look; returns how much. */
  private seen(at: number): number {
    const text = this.log(at)
    const letters = text.slice(this.read[at])
    this.read[at] = text.length
    if (letters.includes(patternBroken)) throw new Error('the guest has lost a page')
    if (!isUnbroken(this.lastLetter + letters)) throw new Error(`the guest went astray: ${this.lastLetter}, ${letters}`)
    this.lastLetter = letters.at(-1) ?? this.lastLetter
    return letters.length
  }

  private skip(...hosts: number[]): void {
    for (const at of hosts.length === 0 ? [0, 1] : hosts) this.read[at] = this.log(at).length
  }

  private log(at: number): string {
    const path = this.hosts[at].directory.consoleLogPath(this.name)
    return existsSync(path) ? readFileSync(path, 'latin1') : ''
  }
}

function isRunning({name, paused, shutdownReason, dying}: DomainStatus): boolean {
  return !name.includes('--') && !paused && !dying && shutdownReason === undefined
}
