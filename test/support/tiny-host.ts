/** A host with a checking guest: a domain of 5 MiB, or more, that proves by what it prints that nothing of its memory was lost. */
import {readdirSync} from 'node:fs'
import {basename, dirname} from 'node:path'
import type {Test} from 'tap'
import {checkingGuest, isUnbroken} from './checking-guest.js'
import {realXl, TestHost, until} from './xl.js'

/** See the file's head. */
export class TinyHost extends TestHost {
  private kernels = 0

  constructor(private readonly test: Pick<Test, 'teardown' | 'ok'>) {
    super(realXl)
    test.teardown(() => this.close())
  }

  /** What `xl create` takes for a checking guest. */
  settings(name: string, {pages = 4, memory = 5, words = [] as string[]} = {}): string[] {
    const kernel = this.file(`checking-${++this.kernels}`, checkingGuest({pages}))
    return [`name="${name}"`, `kernel="${kernel}"`, `memory=${memory}`, ...words]
  }

  /** Starts one and waits until it has said something. */
  async start(name: string, options: Parameters<TinyHost['settings']>[1] = {}): Promise<void> {
    const {status, stderr} = await this.xl(['create', '-q', ...this.settings(name, options)])
    this.test.ok(status === 0, `${name} is there ${stderr}`)
    await this.says(name, 5)
  }

  /** Waits for more letters of a guest; all it ever printed follows one from the other. */
  async says(name: string, more = 30): Promise<void> {
    const before = this.printed(name).length
    await until(() => this.printed(name).length >= before + more || this.directory.find({name}) === undefined)
    const text = this.printed(name)
    this.test.ok(text.length >= before + more && isUnbroken(text), `${name} goes on, nothing of its memory is lost`)
  }

  /** The state in `xl list`, such as "--p---"; undefined when there is no such domain. */
  async state(name: string): Promise<string | undefined> {
    const {stdout} = await this.xl(['list'])
    const row = stdout.split('\n').find(line => line.startsWith(`${name} `))
    return row?.split(/\s+/)[4]
  }
}

/** Files beside `path` that a save has left there. */
export function leftovers(path: string): string[] {
  return readdirSync(dirname(path)).filter(name => name.startsWith(`${basename(path)}.`))
}
