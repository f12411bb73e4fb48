/**
 * xl.cfg text → values with positions.
 *
 *   statement   IDENT ("=" | "+=") value, ended by newline or ";"
 *   value       STRING | NUMBER | "[" value, value, ... "]"
 *   IDENT       [a-z][._0-9a-z]*
 *   NUMBER      [0-9][0-9a-fx]*, read as strtol does with base 0: 0x10 is 16, 010 is 8; there is no minus sign
 *   STRING      '...' or "...", backslash escapes, on one line
 *   comment     "#" to the end of the line
 *
 * "+=" joins strings and lists. A repeated key keeps its last value. Overrides from the command line are read as one more line each,
 * except that what is no value there counts as a string: a shell has already eaten the quotes of name="web1".
 * Source: tools/libs/util/libxlu_cfg_l.l and libxlu_cfg_y.y (the language only), xl.cfg(5).
 */
import {
  ConfigError,
  type ConfigValue,
  type ListValue,
  type Settings,
  type SourceText,
  type Span,
} from './config-text.js'

type TokenKind = 'name' | 'number' | 'string' | '=' | '+=' | '[' | ']' | ',' | ';' | 'newline' | 'end'

interface Token {
  kind: TokenKind
  span: Span
  text: string
  /** Content of a string, with the origin of each character. */
  content?: {value: string; offsets: number[]}
}

/** Reads a whole file; later settings of `into` win over earlier ones. */
export function parseConfig(source: SourceText, into: Settings = new Map()): Settings {
  new Parser(source).statements(into)
  return into
}

/** Reads one `key=value` from the command line. */
export function parseOverride(text: string, into: Settings): Settings {
  const source = {name: 'command line', text}
  const bare = /^\s*([a-z][._0-9a-z]*)\s*=\s*([^\s'"[].*)$/s.exec(text)
  if (bare !== null && !/^[0-9][0-9a-fx]*\s*$/.test(bare[2])) {
    const contentStart = text.length - bare[2].length
    const keyStart = text.indexOf(bare[1])
    into.set(bare[1], {
      key: bare[1],
      keySpan: {source, start: keyStart, end: keyStart + bare[1].length},
      value: {kind: 'string', value: bare[2], contentStart, span: {source, start: contentStart, end: text.length}},
    })
    return into
  }
  return parseConfig(source, into)
}

/** What strtol with base 0 makes of a whole text; undefined when it does not take all of it. */
export function strtol(text: string): number | undefined {
  const match = /^\s*([+-]?)(0x[0-9a-f]+|0[0-7]*|[1-9][0-9]*)$/i.exec(text)
  if (match === null) return undefined
  const digits = match[2]
  const octal = digits.length > 1 && digits[0] === '0' && !/x/i.test(digits)
  const magnitude = octal ? Number.parseInt(digits, 8) : Number(digits)
  return match[1] === '-' ? -magnitude : magnitude
}

const names: Record<TokenKind, string> = {
  name: 'the name',
  number: 'the number',
  string: 'the string',
  '=': '"="',
  '+=': '"+="',
  '[': '"["',
  ']': '"]"',
  ',': '","',
  ';': '";"',
  newline: 'the end of the line',
  end: 'the end of the file',
}

function found(token: Token): string {
  return token.kind === 'name' || token.kind === 'number' ? `${names[token.kind]} "${token.text}"` : names[token.kind]
}

class Parser {
  private position = 0
  private token: Token

  constructor(private readonly source: SourceText) {
    this.token = this.scan()
  }

  statements(into: Settings): void {
    while (this.token.kind !== 'end') {
      if (this.token.kind === 'newline' || this.token.kind === ';') this.advance()
      else this.statement(into)
    }
  }

  private statement(into: Settings): void {
    const key = this.token
    if (key.kind !== 'name') throw new ConfigError(key.span, `expected a key, found ${found(key)}`)
    this.advance()
    const operator = this.token
    if (operator.kind !== '=' && operator.kind !== '+=') {
      throw new ConfigError(operator.span, `expected "=" after the key "${key.text}", found ${found(operator)}`)
    }
    this.advance()
    const value = this.value()
    if (this.token.kind !== 'newline' && this.token.kind !== ';' && this.token.kind !== 'end') {
      throw new ConfigError(this.token.span, `expected the end of the line after the value, found ${found(this.token)}`)
    }
    const before = operator.kind === '+=' ? into.get(key.text)?.value : undefined
    into.set(key.text, {
      key: key.text,
      keySpan: key.span,
      value: before === undefined ? value : joined(key, before, value),
    })
  }

  private value(): ConfigValue {
    const token = this.token
    if (token.kind === 'string') {
      this.advance()
      const {value, offsets} = token.content!
      return {kind: 'string', value, offsets, contentStart: token.span.start + 1, span: token.span}
    }
    if (token.kind === 'number') {
      this.advance()
      const value = strtol(token.text)
      if (value === undefined) throw new ConfigError(token.span, `"${token.text}" is not a number`)
      return {kind: 'number', value, text: token.text, span: token.span}
    }
    if (token.kind === '[') return this.list()
    throw new ConfigError(token.span, `expected a string, a number or "[", found ${found(token)}`, hintFor(token))
  }

  private list(): ListValue {
    const {start} = this.token.span
    this.advance()
    const items: ConfigValue[] = []
    for (;;) {
      this.skipNewlines()
      if (this.token.kind === ']') break
      if (this.token.kind === 'end') {
        throw new ConfigError({source: this.source, start, end: start + 1}, 'this list is not closed', 'add "]"')
      }
      items.push(this.value())
      this.skipNewlines()
      if (this.at(',')) this.advance()
      else if (!this.at(']') && !this.at('end')) {
        throw new ConfigError(this.token.span, `expected "," or "]" in the list, found ${found(this.token)}`)
      }
    }
    const {end} = this.token.span
    this.advance()
    return {kind: 'list', items, span: {source: this.source, start, end}}
  }

  private at(kind: TokenKind): boolean {
    return this.token.kind === kind
  }

  private skipNewlines(): void {
    while (this.token.kind === 'newline') this.advance()
  }

  private advance(): void {
    this.token = this.scan()
  }

  private scan(): Token {
    const {text} = this.source
    const blank = /(?:[ \t\r]|#[^\n]*)*/y
    blank.lastIndex = this.position
    blank.exec(text)
    const start = blank.lastIndex
    if (start >= text.length) return this.make('end', start, start)
    const plain = /(\n)|([a-z][._0-9a-z]*)|([0-9][0-9a-fx]*)|(\+=|[=[\],;])/y
    plain.lastIndex = start
    const match = plain.exec(text)
    if (match === null) {
      if (text[start] === '"' || text[start] === "'") return this.scanString(start)
      throw this.lexicalError(start)
    }
    const kind: TokenKind = match[1] ? 'newline' : match[2] ? 'name' : match[3] ? 'number' : (match[4] as TokenKind)
    return this.make(kind, start, plain.lastIndex)
  }

  private make(kind: TokenKind, start: number, end: number): Token {
    this.position = end
    return {kind, span: {source: this.source, start, end}, text: this.source.text.slice(start, end)}
  }

  private scanString(start: number): Token {
    const {text} = this.source
    const quote = text[start]
    let value = ''
    const offsets: number[] = []
    let at = start + 1
    while (text[at] !== quote) {
      if (at >= text.length || text[at] === '\n') {
        throw new ConfigError({source: this.source, start, end: at}, 'this string is not closed', `add ${quote}`)
      }
      offsets.push(at)
      if (text[at] === '\\') {
        const escaped = this.escape(at)
        value += escaped.character
        at = escaped.end
      } else value += text[at++]
    }
    offsets.push(at)
    const token = this.make('string', start, at + 1)
    token.content = {value, offsets}
    return token
  }

  private escape(at: number): {character: string; end: number} {
    const {text} = this.source
    const simple: Record<string, string> = {
      n: '\n',
      r: '\r',
      t: '\t',
      b: '\b',
      f: '\f',
      a: '\x07',
      '"': '"',
      "'": "'",
      '\\': '\\',
    }
    const next = text[at + 1]
    if (next in simple) return {character: simple[next], end: at + 2}
    const coded = /x([0-9a-fA-F]{2})|([0-7]{1,3})/y
    coded.lastIndex = at + 1
    const match = coded.exec(text)
    if (match === null) {
      throw new ConfigError(
        {source: this.source, start: at, end: at + 2},
        `unknown escape "\\${next ?? ''}" in a string`,
      )
    }
    const code = match[1] === undefined ? Number.parseInt(match[2], 8) : Number.parseInt(match[1], 16)
    return {character: String.fromCharCode(code), end: coded.lastIndex}
  }

  private lexicalError(start: number): ConfigError {
    const character = String.fromCodePoint(this.source.text.codePointAt(start)!)
    const span = {source: this.source, start, end: start + character.length}
    if (character === '-') {
      return new ConfigError(
        span,
        'unexpected "-"',
        'numbers have no sign here; where a negative one is meant, quote it: "-3600"',
      )
    }
    if ('(+.):'.includes(character)) {
      return new ConfigError(
        span,
        `unexpected "${character}"`,
        'this looks like Python; xl.cfg holds only key = value lines',
      )
    }
    if (/[A-Z]/.test(character))
      return new ConfigError(span, `unexpected "${character}"`, 'keys are lower case; values are quoted')
    return new ConfigError(span, `unexpected ${JSON.stringify(character)}`)
  }
}

function hintFor(token: Token): string | undefined {
  if (token.kind !== 'name') return undefined
  if (/^(true|yes|on)$/.test(token.text)) return 'booleans are 1 and 0'
  if (/^(false|no|off|none)$/.test(token.text)) return 'booleans are 1 and 0'
  return `quote it: "${token.text}"`
}

/** The value of `key += more`. */
function joined(key: Token, before: ConfigValue, more: ConfigValue): ConfigValue {
  if (before.kind === 'list' && more.kind === 'list') return {...more, items: [...before.items, ...more.items]}
  if (before.kind === 'string' && more.kind === 'string') {
    // Only the added part has a place of its own in the text that a caret could point at.
    return {
      kind: 'string',
      value: before.value + more.value,
      contentStart: more.contentStart,
      span: more.span,
      offsets: placesOf(before, more),
    }
  }
  throw new ConfigError(
    key.span,
    `"${key.text}" is a ${before.kind} and cannot take a ${more.kind} with "+="`,
    'only strings and lists can be added to',
  )
}

function placesOf(before: ConfigValue & {kind: 'string'}, more: ConfigValue & {kind: 'string'}): number[] {
  const added = more.offsets ?? [...more.value, ''].map((_, index) => more.contentStart + index)
  return [...Array.from(before.value, () => more.contentStart), ...added]
}
