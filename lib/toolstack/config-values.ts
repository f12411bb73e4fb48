/**
 * Reading one setting as the type it must have. As in xl, a number may be written as a string ("2"), a boolean is 0 or 1, and a
 * list of strings may, where the key allows it, be one string. Everything that does not fit is a ConfigError at its place.
 */
import {strtol} from './config-parser.js'
import {ConfigError, type ConfigValue, type Setting, type Settings, type StringValue} from './config-text.js'

const article = {string: 'a string', number: 'a number', list: 'a list'}

function wrongKind(setting: Setting, value: ConfigValue, expected: string): ConfigError {
  return new ConfigError(value.span, `"${setting.key}" must be ${expected}, not ${article[value.kind]}`)
}

/** The settings of a configuration, read key by key. */
export class SettingReader {
  constructor(readonly settings: Settings) {}

  /** The setting itself, for an error that points at it. */
  get(key: string): Setting | undefined {
    return this.settings.get(key)
  }

  /** A text that is not empty; an empty one counts as absent, as in xl. */
  text(key: string): string | undefined {
    const value = this.string(key)?.value
    return value === '' ? undefined : value
  }

  /** A text with its places. */
  string(key: string): StringValue | undefined {
    const setting = this.settings.get(key)
    if (setting === undefined) return undefined
    if (setting.value.kind !== 'string') throw wrongKind(setting, setting.value, 'a string in quotes')
    return setting.value
  }

  /** A whole number from `minimum` to `maximum`; `unit` is said in messages. */
  integer(key: string, minimum: number, maximum: number, unit = ''): number | undefined {
    const setting = this.settings.get(key)
    if (setting === undefined) return undefined
    const {value} = setting
    if (value.kind === 'list') throw wrongKind(setting, value, 'a number')
    if (value.kind === 'number' && value.isBoolean) {
      throw new ConfigError(value.span, `"${key}" must be a whole number, not ${value.text}`)
    }
    const number = value.kind === 'number' ? value.value : strtol(value.value)
    const said = value.kind === 'number' ? value.text : `"${value.value}"`
    if (number === undefined || !Number.isSafeInteger(number)) {
      throw new ConfigError(value.span, `"${key}" must be a whole number, not ${said}`)
    }
    if (number < minimum || number > maximum) {
      const range = number < minimum ? `at least ${minimum}` : `at most ${maximum}`
      throw new ConfigError(value.span, `"${key}" must be ${range}${unit === '' ? '' : ` ${unit}`}, not ${number}`)
    }
    return number
  }

  /** 0 or 1; any other number counts as true, as in C. */
  boolean(key: string): boolean | undefined {
    const value = this.settings.get(key)?.value
    if (value?.kind === 'number') return value.value !== 0
    const number = this.integer(key, Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER)
    return number === undefined ? undefined : number !== 0
  }

  /** A list of strings. `alone` accepts one string in place of a list of one. */
  strings(key: string, alone = false): StringValue[] | undefined {
    const setting = this.settings.get(key)
    if (setting === undefined) return undefined
    const {value} = setting
    if (value.kind === 'string' && alone) return [value]
    if (value.kind !== 'list')
      throw wrongKind(setting, value, `a list${alone ? ' or a string' : ''}: ${key} = [ "..." ]`)
    return value.items.map(item => {
      if (item.kind !== 'string') throw wrongKind({...setting, key: `${key}: an item`}, item, 'a string in quotes')
      return item
    })
  }

  /** One of a closed list of words. */
  word<Word extends string>(key: string, words: readonly Word[]): Word | undefined {
    const value = this.string(key)
    if (value === undefined) return undefined
    const word = words.find(candidate => candidate === value.value)
    if (word === undefined) {
      throw new ConfigError(value.span, `unknown ${key} "${value.value}"`, `it is one of ${words.join(', ')}`)
    }
    return word
  }
}
