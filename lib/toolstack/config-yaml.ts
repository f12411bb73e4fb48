/**
 * YAML text → the same values with positions as config-parser.ts gives, for people who prefer it: the keys of xl.cfg at top level.
 *
 *   name: web1
 *   memory: 256
 *   disk:
 *     - /srv/web1.img,raw,xvda,w
 *     - {target: /srv/data.img, vdev: xvdb}
 *
 * true and false are 1 and 0; a map inside a list becomes the "key=value,..." string that xl.cfg has there. Only this file loads the
 * package `yaml`.
 */
import {isAlias, isMap, isScalar, isSeq, LineCounter, type Node, parseDocument} from 'yaml'
import {ConfigError, type ConfigValue, type Settings, type SourceText, type Span} from './config-text.js'

/** Reads a whole YAML file. */
export function parseYamlConfig(source: SourceText, into: Settings = new Map()): Settings {
  const document = parseDocument(source.text, {lineCounter: new LineCounter(), prettyErrors: false})
  const [error] = document.errors
  if (error !== undefined) {
    const place = {source, start: error.pos[0], end: error.pos[1]}
    if (error.code === 'MULTIPLE_DOCS')
      throw new ConfigError(place, 'another document begins here: a configuration is one')
    throw new ConfigError(place, firstLine(error.message))
  }
  if (document.contents === null) return into
  if (!isMap(document.contents)) {
    throw new ConfigError(spanOf(source, document.contents as Node), 'expected a map of keys at the top level')
  }
  for (const {key, value} of document.contents.items) {
    const keySpan = spanOf(source, key as Node)
    if (!isScalar(key) || typeof key.value !== 'string') throw new ConfigError(keySpan, 'keys are plain text')
    if (!isNode(value)) throw new ConfigError(keySpan, `"${key.value}" has no value`)
    into.set(key.value, {key: key.value, keySpan, value: convert(source, value)})
  }
  return into
}

function firstLine(text: string): string {
  return text.split('\n')[0]
}

function isNode(value: unknown): value is Node {
  return value !== null && typeof value === 'object'
}

function spanOf(source: SourceText, node: Node | null | undefined): Span {
  const range = node?.range
  return {source, start: range?.[0] ?? 0, end: Math.max(range?.[1] ?? 1, (range?.[0] ?? 0) + 1)}
}

function convert(source: SourceText, node: Node): ConfigValue {
  const span = spanOf(source, node)
  if (isSeq(node)) return {kind: 'list', items: node.items.map(item => convertItem(source, item, span)), span}
  if (isMap(node)) throw new ConfigError(span, 'expected a string, a number or a list, found a map')
  if (isAlias(node)) throw new ConfigError(span, 'aliases are not supported here')
  if (!isScalar(node)) throw new ConfigError(span, 'expected a string, a number or a list')
  return scalar(source, node.value, span, node.source)
}

function scalar(source: SourceText, value: unknown, span: Span, text: string | undefined): ConfigValue {
  if (typeof value === 'boolean')
    return {kind: 'number', value: Number(value), text: String(value), isBoolean: true, span}
  if (typeof value === 'number') return {kind: 'number', value, text: text ?? String(value), span}
  if (typeof value === 'string') {
    const quoted = /["']/.test(source.text[span.start]) ? 1 : 0
    return {kind: 'string', value, contentStart: span.start + quoted, span}
  }
  if (value === null) throw new ConfigError(span, 'expected a value, found nothing')
  throw new ConfigError(span, 'expected a string, a number or a list')
}

/** An item of a list; a map there is written out as xl.cfg spells it. */
function convertItem(source: SourceText, item: unknown, listSpan: Span): ConfigValue {
  if (!isNode(item)) throw new ConfigError(listSpan, 'a list item is empty')
  if (!isMap(item)) return convert(source, item)
  const span = spanOf(source, item)
  const parts: {key: string; text: string; start: number}[] = item.items.map(({key, value}) => {
    const place = spanOf(source, (value ?? key) as Node)
    if (!isScalar(key) || !isScalar(value)) throw new ConfigError(place, 'expected key: value with a plain value')
    return {key: String(key.value), text: writeScalar(value.value), start: place.start}
  })
  // A disk's target takes the whole rest of its specification, so it goes last.
  parts.sort((a, b) => Number(a.key === 'target') - Number(b.key === 'target'))
  let value = ''
  const offsets: number[] = []
  for (const {key, text, start} of parts) {
    const piece = `${value === '' ? '' : ','}${key}=${text}`
    value += piece
    for (let index = 0; index < piece.length; index++)
      offsets.push(start + Math.max(0, index - (piece.length - text.length)))
  }
  offsets.push(span.end)
  return {kind: 'string', value, offsets, contentStart: span.start, span}
}

function writeScalar(value: unknown): string {
  return typeof value === 'boolean' ? String(Number(value)) : String(value)
}
