/**
 * Configuration values with their places, and errors that point at them.
 *
 * Both spellings of a configuration (xl.cfg and YAML) become the same tree of values; each value knows the text it came from and its
 * offsets there, down to single characters of a string, so that a mistake in the middle of a disk specification is shown under a
 * caret:
 *
 *   web1.cfg:4:45: disk "xvdb": unknown format "qcow3"
 *        4 | disk = [ "/srv/web1.img,raw,xvda,w", "x.img,qcow3,xvdb" ]
 *          |                                             ^^^^^
 */
import {VerbatimError} from './verbatim-error.js'

/** A text and what to call it in messages. */
export interface SourceText {
  name: string
  text: string
}

/** A stretch of a source: offsets into its text, the end not included. */
export interface Span {
  source: SourceText
  start: number
  end: number
}

/** A quoted or bare text. `offsets[i]` is where its i-th character came from, where that is not simply start + i. */
export interface StringValue {
  kind: 'string'
  value: string
  span: Span
  offsets?: number[]
  /** Where the first character of the content is. */
  contentStart: number
}

/** A number as written; strtol with base 0 has read it. */
export interface NumberValue {
  kind: 'number'
  value: number
  text: string
  /** It was written as true or false, which only YAML knows. */
  isBoolean?: boolean
  span: Span
}

/** A list of values. */
export interface ListValue {
  kind: 'list'
  items: ConfigValue[]
  span: Span
}

/** Any value of a configuration. */
export type ConfigValue = StringValue | NumberValue | ListValue

/** One key with its value. */
export interface Setting {
  key: string
  keySpan: Span
  value: ConfigValue
}

/** A whole configuration: the last setting of a key counts, in order of first appearance. */
export type Settings = Map<string, Setting>

/** A mistake in a configuration, with file, line, column, an excerpt and a caret. Its text needs no "xl:" before it. */
export class ConfigError extends VerbatimError {
  constructor(span: Span, message: string, hint?: string) {
    super(`${place(span)}: ${message}\n${excerpt(span)}`, {hint, exitCode: 1})
  }
}

function lineAndColumn(span: Span): {line: number; column: number; lineText: string} {
  const {text} = span.source
  const start = Math.min(span.start, text.length)
  const lineStart = text.lastIndexOf('\n', start - 1) + 1
  const lineEnd = text.indexOf('\n', start)
  return {
    line: text.slice(0, lineStart).split('\n').length,
    column: start - lineStart + 1,
    lineText: text.slice(lineStart, lineEnd === -1 ? text.length : lineEnd).replace(/\r$/, ''),
  }
}

/** `file:line:column` of the start of a span. */
export function place(span: Span): string {
  const {line, column} = lineAndColumn(span)
  return `${span.source.name}:${line}:${column}`
}

const longestExcerpt = 100

/** The line of a span and carets under it. A long line is cut to the part around them. */
function excerpt(span: Span): string {
  const {line, column, lineText} = lineAndColumn(span)
  const from = column > longestExcerpt - 20 ? column - 40 : 0
  const shown = lineText.slice(from, from + longestExcerpt).replace(/[^\P{C}\t]/gu, '?')
  const carets = Math.max(
    1,
    Math.min(span.end - span.start, lineText.length - column + 1, from + longestExcerpt - column + 1),
  )
  const margin = shown.slice(0, column - 1 - from).replace(/[^\t]/g, ' ')
  const number = String(line).padStart(6)
  return `${number} | ${shown}\n${' '.repeat(number.length)} | ${margin}${'^'.repeat(carets)}`
}

/** The span of characters `from` to `to` of a string's content. */
export function withinString(value: StringValue, from: number, to: number): Span {
  const {source} = value.span
  const at = (index: number): number => value.offsets?.[index] ?? value.contentStart + index
  if (from >= value.value.length) return {source, start: at(value.value.length), end: at(value.value.length) + 1}
  return {source, start: at(from), end: Math.max(at(from), at(Math.max(from, to - 1))) + 1}
}
