/** What the hypervisor of a domain has to say, for `xl dmesg`: the newest of it, each line marked as Xen marks its own. */

const mostCharacters = 16 << 10

/** See the file's head. */
export class MessageRing {
  private text = ''

  say(line: string): void {
    this.text = `${this.text}(XEN) ${line}\n`.slice(-mostCharacters)
  }

  /** All of it; `clear` empties the ring. */
  read(clear: boolean): string {
    const {text} = this
    if (clear) this.text = ''
    return text
  }
}
