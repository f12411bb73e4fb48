/** The shell of a Debian guest, on its console: what a command prints, and all that the guest has said. */
import type {Image} from '../../lib/toolstack/images/catalogue.js'
import {imageSettings} from './debian-image.js'
import {type TestHost, until} from './xl.js'

const prompt = /:\S+# /
let asked = 0

/** See the file's head. The console of a domain that has been restored or forked is attached to anew: `reattach`. */
export class GuestShell {
  /** What the console has shown. */
  text = ''
  private console: ReturnType<TestHost['spawn']>

  constructor(
    private readonly host: TestHost,
    readonly name: string,
  ) {
    this.console = this.attach()
  }

  /** Boots the image and waits for its prompt. */
  static async boot(host: TestHost, image: Image, name: string, words: string[] = []): Promise<GuestShell> {
    const {status, stderr} = await host.xl(['create', '-q', ...imageSettings(image, name, ''), ...words])
    if (status !== 0) throw new Error(stderr)
    const shell = new GuestShell(host, name)
    await until(() => prompt.test(shell.text))
    return shell
  }

  reattach(): void {
    this.console = this.attach()
  }

  /** What a shell command prints. */
  async says(command: string): Promise<string> {
    const turn = ++asked
    const from = this.text.length
    // The marks are spelled differently in what the console echoes.
    this.console.stdin!.write(`echo sa''ys${turn}; ${command}; echo en''d${turn}\r`)
    const answer = new RegExp(`says${turn}\\s([\\s\\S]*)end${turn}\\s`)
    await until(() => answer.test(this.text.slice(from)))
    return answer.exec(this.text.slice(from))![1].trim()
  }

  private attach(): ReturnType<TestHost['spawn']> {
    const child = this.host.spawn(['console', this.name])
    child.stdout!.on('data', bytes => {
      this.text += bytes
    })
    return child
  }
}
