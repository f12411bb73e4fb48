/**
 * A person at a guest's console. On a terminal the keys go to the guest as they are typed, and Ctrl-] leaves; the terminal's mode is
 * restored however the session ends. From a pipe or a file the bytes are sent on, and at their end the output goes on until the domain
 * ends.
 */
import type {Duplex} from 'node:stream'
import type {World} from './report.js'

/** How it ended: the domain closed its console, or the person left. */
export type SessionEnd = 'ended' | 'detached'

/** The character for `^]`. */
export const standardEscape = 0x1d

/** The character a text such as "^]", "^X" or "q" means; undefined for anything else. */
export function parseEscape(text: string): number | undefined {
  if (/^\^[@-_a-z?]$/.test(text)) return text[1] === '?' ? 0x7f : text[1].toUpperCase().charCodeAt(0) & 0x1f
  return text.length === 1 ? text.charCodeAt(0) : undefined
}

/** How long a domain process may take to notice that its console was left, and to send what it had printed before. */
const hangUpPatienceMs = 1000

const deadlySignals: Partial<Record<NodeJS.Signals, number>> = {SIGHUP: 129, SIGINT: 130, SIGTERM: 143}

/** Joins the world's input and output with a console until one of the two ends. */
export function runSession(
  stream: Duplex,
  {stdin, stdout}: World,
  escapeCode: number = standardEscape,
): Promise<SessionEnd> {
  const terminal = stdin.isTTY === true && stdin.setRawMode !== undefined
  const restore = (): void => {
    if (terminal) stdin.setRawMode!(false)
  }
  // While the process was stopped its shell has set the terminal as it likes it.
  const continued = (): void => {
    restore()
    stdin.setRawMode!(true)
  }
  const interrupted = Object.entries(deadlySignals).map(([signal, status]) => {
    const die = (): void => {
      restore()
      process.exit(status)
    }
    return [signal as NodeJS.Signals, die] as const
  })
  return new Promise(resolve => {
    let over = false
    let leaving = false
    const finish = (end: SessionEnd): void => {
      if (over) return
      over = true
      restore()
      process.off('exit', restore)
      process.off('SIGCONT', continued)
      for (const [signal, die] of interrupted) process.off(signal, die)
      stdin.off('data', onInput)
      stdin.off('error', ignore)
      stdin.pause()
      // A pipe that its writer holds open, or a terminal, would keep this process alive.
      ;(stdin as {unref?: () => void}).unref?.()
      if (end === 'ended') stream.destroy()
      resolve(end)
    }
    const onInput = (bytes: Buffer): void => {
      if (leaving) return
      const at = bytes.indexOf(escapeCode)
      const forGuest = at === -1 ? bytes : bytes.subarray(0, at)
      if (forGuest.length > 0 && stream.writable && !stream.write(forGuest)) {
        stdin.pause()
        stream.once('drain', () => stdin.resume())
      }
      if (at !== -1) leave()
    }
    // A person has seen what he leaves. A script's key comes with the attachment: it gets what the domain had printed by then.
    const leave = (): void => {
      leaving = true
      hangUp(stream)
      if (terminal) finish('detached')
    }
    const ignore = (): void => {}
    if (terminal) {
      process.on('exit', restore)
      process.on('SIGCONT', continued)
      for (const [signal, die] of interrupted) process.on(signal, die)
      stdin.setRawMode!(true)
    }
    stdin.on('data', onInput)
    stdin.on('error', ignore)
    stream.on('data', (bytes: Buffer) => {
      if (over || stdout.write(bytes)) return
      stream.pause()
      stdout.once('drain', () => stream.resume())
    })
    stream.on('error', ignore)
    const closed = (): void => finish(leaving ? 'detached' : 'ended')
    stream.once('end', closed)
    stream.once('close', closed)
    stream.resume()
  })
}

/**
 * Leaves a console whose domain lives on. Closing at once would fail the domain's next write, and it would drop what was typed last
 * before it had read it; so the end is only told, and the other side closes. One that does not is left after a while.
 */
function hangUp(stream: Duplex): void {
  stream.end()
  stream.resume()
  setTimeout(() => stream.destroy(), hangUpPatienceMs).unref()
}
