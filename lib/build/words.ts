/**
 * Owns the three ways a Dockerfile line is split into arguments: at blanks, at blanks outside quotes, or as a JSON array.
 * Invariant: nothing is unquoted or expanded here; offsets are into the text given.
 */
import { BuildError } from './error.js'
import type { Escape } from './expand.js'

export interface Word {
  readonly text: string
  readonly offset: number
  readonly length: number
}

/** EXPOSE, FROM, and the plain form of COPY and VOLUME: quotes mean nothing. */
export function splitBlanks(text: string): Word[] {
  return [...text.matchAll(/[^\t\v\f\r ]+/g)].map(m => ({ text: m[0], offset: m.index, length: m[0].length }))
}

/** ENV, LABEL, ARG: a blank inside quotes or after the escape character does not split; both stay in the words. */
export function splitQuoted(text: string, escape: Escape): Word[] {
  const words: Word[] = []
  let start = -1
  let quote = ''
  for (let i = 0; i <= text.length; i++) {
    const ch = text[i]
    const ends = ch === undefined || (quote === '' && /\s/.test(ch))
    if (ends) {
      if (start >= 0) words.push({ text: text.slice(start, i), offset: start, length: i - start })
      start = -1
      continue
    }
    if (start < 0) start = i
    if (ch === escape && quote !== "'") i++
    else if (quote === '' && (ch === '"' || ch === "'")) quote = ch
    else if (ch === quote) quote = ''
    if (i >= text.length) i = text.length - 1
  }
  return words
}

/**
 * The strings of a JSON array, or undefined when `text` is none (then it is the shell form, whatever it looks like).
 * Throws BuildError JSON when it is an array of something else.
 */
export function jsonArray(text: string): string[] | undefined {
  if (!text.startsWith('[')) return undefined
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return undefined
  }
  if (!Array.isArray(value)) return undefined
  if (!value.every(item => typeof item === 'string'))
    throw new BuildError('JSON', 'a JSON array of arguments can hold only strings')
  return value
}
