/**
 * Owns the build cache: the inputs of a step → its key → the layer it made. And why a step missed.
 * Format: `<state>/cache/<key>.json`, one `CacheRecord`; for COPY beside it `<key>.files`, the lines of selection.ts.
 * A key is sha256 over the inputs in a fixed order. Secrets' contents are never among them.
 * Invariants: a record is written whole, after its layer is in the store; a record whose layer is gone is no hit.
 */
import { createHash } from 'node:crypto'
import { readdirSync, readFileSync, utimesSync } from 'node:fs'
import { join } from 'node:path'
import type { DiffID } from '../digest.js'
import { writeAtomically } from './atomic.js'

/** Name → value; values that could be long are digests. */
export type Inputs = Readonly<Record<string, string | readonly string[]>>

export interface CacheRecord {
  readonly version: 1
  readonly key: string
  readonly inputs: Inputs
  /** null: the step changed no file. */
  readonly layer: { readonly diffID: DiffID; readonly size: number } | null
  /** When the step ran (ISO 8601): what history says, also when the record is used again. */
  readonly created: string
  /** `Dockerfile:7` and the instruction, for `--explain`. */
  readonly place: string
  readonly text: string
  readonly milliseconds: number
}

export function keyOf(inputs: Inputs): string {
  const names = Object.keys(inputs).sort()
  return createHash('sha256')
    .update(JSON.stringify(names.map(name => [name, inputs[name]])))
    .digest('hex')
}

export class BuildCache {
  readonly #directory: string
  readonly #hasLayer: (diffID: DiffID) => boolean

  constructor(state: string, hasLayer: (diffID: DiffID) => boolean) {
    this.#directory = join(state, 'cache')
    this.#hasLayer = hasLayer
  }

  /** The record of `key` if its layer is there. A damaged file is no record. */
  find(key: string): CacheRecord | undefined {
    const record = this.#read(`${key}.json`)
    if (!record || record.key !== key) return undefined
    return record.layer === null || this.#hasLayer(record.layer.diffID) ? record : undefined
  }

  put(record: CacheRecord, files?: readonly string[]): void {
    if (files) writeAtomically(join(this.#directory, `${record.key}.files`), files.join(''))
    writeAtomically(join(this.#directory, `${record.key}.json`), `${JSON.stringify(record)}\n`)
  }

  /** Notes that a record was used, for the prune by age. */
  touch(key: string): void {
    const now = new Date()
    try {
      utimesSync(join(this.#directory, `${key}.json`), now, now)
    } catch {
      // Pruned in between: it was read, that is enough.
    }
  }

  /** All records, in no order. */
  *all(): Generator<CacheRecord> {
    let names: string[] = []
    try {
      names = readdirSync(this.#directory)
    } catch {
      return
    }
    for (const name of names) {
      if (!name.endsWith('.json')) continue
      const record = this.#read(name)
      if (record) yield record
    }
  }

  /**
   * Why there was no hit: the inputs that differ from those of the nearest earlier step, nearest being the one with
   * the fewest differences, then the same place, then the latest. No earlier step of the kind: an empty list.
   */
  explain(inputs: Inputs, place: string, files?: readonly string[]): Explanation {
    let nearest: CacheRecord | undefined
    let best: [number, number, string] = [Infinity, 0, '']
    const key = keyOf(inputs)
    for (const record of this.all()) {
      if (record.inputs['kind'] !== inputs['kind']) continue
      if (record.key === key)
        return { nearest: record, differences: [{ input: 'layer', was: 'in the store', is: 'gone' }] }
      const score: [number, number, string] = [
        differing(record.inputs, inputs).length,
        record.place === place ? 0 : 1,
        record.created,
      ]
      if (
        score[0] < best[0] ||
        (score[0] === best[0] && (score[1] < best[1] || (score[1] === best[1] && score[2] > best[2])))
      )
        [nearest, best] = [record, score]
    }
    if (!nearest) return { nearest: undefined, differences: [] }
    const differences = differing(nearest.inputs, inputs).flatMap(input =>
      input === 'content' && files
        ? this.#filesDiffering(nearest.key, files)
        : differenceOf(input, nearest.inputs, inputs),
    )
    return { nearest, differences }
  }

  #filesDiffering(key: string, files: readonly string[]): Difference[] {
    let earlier: Map<string, string>
    try {
      earlier = linesByName(readFileSync(join(this.#directory, `${key}.files`), 'latin1').split(/(?<=\n)/))
    } catch {
      return [{ input: 'content', was: 'other files', is: 'these files' }]
    }
    const now = linesByName(files)
    const found: Difference[] = []
    for (const [name, line] of now) {
      const was = earlier.get(name)
      if (was === undefined) found.push({ input: `file ${name || '.'}`, was: 'not there', is: 'new' })
      else if (was !== line) found.push({ input: `file ${name || '.'}`, ...aspects(was, line) })
    }
    for (const name of earlier.keys())
      if (!now.has(name)) found.push({ input: `file ${name || '.'}`, was: 'there', is: 'gone' })
    return found
  }

  #read(name: string): CacheRecord | undefined {
    try {
      const record = JSON.parse(readFileSync(join(this.#directory, name), 'utf8')) as Partial<CacheRecord>
      const whole = record.version === 1 && typeof record.key === 'string' && typeof record.inputs === 'object'
      return whole ? (record as CacheRecord) : undefined
    } catch {
      return undefined
    }
  }
}

export interface Difference {
  readonly input: string
  readonly was: string
  readonly is: string
}

export interface Explanation {
  readonly nearest: CacheRecord | undefined
  readonly differences: readonly Difference[]
}

function differing(a: Inputs, b: Inputs): string[] {
  const names = new Set([...Object.keys(a), ...Object.keys(b)])
  return [...names].filter(name => JSON.stringify(a[name]) !== JSON.stringify(b[name])).sort()
}

/** Lists (env, args, mounts) are compared item by item. */
function differenceOf(input: string, a: Inputs, b: Inputs): Difference[] {
  const was = a[input]
  const is = b[input]
  if (typeof was !== 'object' || typeof is !== 'object' || input === 'command')
    return [{ input, was: show(was), is: show(is) }]
  const nameOf = (item: string): string => item.split('=', 1)[0]!
  const found: Difference[] = []
  for (const item of is)
    if (!was.includes(item)) {
      const before = was.find(w => nameOf(w) === nameOf(item))
      found.push({ input: `${input} ${nameOf(item)}`, was: before ?? 'not set', is: item })
    }
  for (const item of was)
    if (!is.some(i => nameOf(i) === nameOf(item)))
      found.push({ input: `${input} ${nameOf(item)}`, was: item, is: 'not set' })
  return found.length > 0 ? found : [{ input, was: 'in another order', is: 'in this order' }]
}

function show(value: string | readonly string[] | undefined): string {
  return value === undefined ? 'not set' : typeof value === 'string' ? value : value.join(' ')
}

function linesByName(lines: readonly string[]): Map<string, string> {
  return new Map(lines.filter(l => l !== '').map(line => [line.slice(0, line.indexOf('\0')), line]))
}

/** `name\0mode\0owner\0content…` */
function aspects(was: string, is: string): { was: string; is: string } {
  const a = was.split('\0')
  const b = is.split('\0')
  if (a[1] !== b[1]) return { was: `mode ${a[1]}`, is: `mode ${b[1]}` }
  if (a[2] !== b[2]) return { was: `owner ${a[2]}`, is: `owner ${b[2]}` }
  return { was: `content ${a[3]!.trim().slice(0, 12)}`, is: `content ${b[3]!.trim().slice(0, 12)}` }
}
