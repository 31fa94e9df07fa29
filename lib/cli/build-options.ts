/**
 * Owns the values of `lamina build`'s options: secrets, ssh agents, labels, the epoch.
 * Invariant: a secret's file is read when a step asks for it, not before; nothing of it is kept.
 */
import { readFileSync, statSync } from 'node:fs'
import { resolve } from 'node:path'
import { UsageError } from './command.js'

type Env = Readonly<Record<string, string | undefined>>

/** `id=NAME[,src=FILE | ,env=VARIABLE]`; with the id alone the variable of that name, else the file. */
export function readSecrets(texts: readonly string[], env: Env): Map<string, () => Uint8Array> {
  const found = new Map<string, () => Uint8Array>()
  for (const text of texts) {
    const fields = pairs('--secret', text)
    const id = fields.get('id') ?? fields.get('src') ?? fields.get('source') ?? fields.get('env')
    if (!id) throw new UsageError(`--secret ${text}: an id is needed (id=NAME,src=FILE)`)
    for (const key of fields.keys())
      if (!['id', 'src', 'source', 'env', 'type'].includes(key))
        throw new UsageError(`--secret ${text}: unknown field ${key}`)
    const file = fields.get('src') ?? fields.get('source')
    const variable = fields.get('env') ?? (file === undefined && env[id] !== undefined ? id : undefined)
    if (variable !== undefined) {
      const value = env[variable]
      if (value === undefined) throw new UsageError(`--secret ${text}: there is no variable ${variable}`)
      found.set(id, () => Buffer.from(value))
      continue
    }
    const path = resolve(file ?? id)
    if (!statSync(path, { throwIfNoEntry: false })?.isFile()) throw new UsageError(`--secret ${text}: no such file`)
    found.set(id, () => readFileSync(path))
  }
  return found
}

/** `default` (SSH_AUTH_SOCK), `id`, or `id=SOCKET`. */
export function readAgents(texts: readonly string[], env: Env): Map<string, string> {
  const found = new Map<string, string>()
  for (const text of texts) {
    const equals = text.indexOf('=')
    const id = equals < 0 ? text : text.slice(0, equals)
    const path = equals < 0 ? env['SSH_AUTH_SOCK'] : text.slice(equals + 1)
    if (path === undefined || path === '') throw new UsageError(`--ssh ${text}: SSH_AUTH_SOCK is not set`)
    if (!statSync(path, { throwIfNoEntry: false })?.isSocket())
      throw new UsageError(`--ssh ${text}: ${path} is not the socket of an agent (keys: add them to one)`)
    found.set(id || 'default', resolve(path))
  }
  return found
}

/** `name=value` pairs in order. */
export function readLabels(texts: readonly string[]): Map<string, string> {
  return new Map(
    texts.map(text => {
      const equals = text.indexOf('=')
      if (equals === 0 || text === '') throw new UsageError(`--label ${text}: it has no name`)
      return equals < 0 ? [text, ''] : [text.slice(0, equals), text.slice(equals + 1)]
    }),
  )
}

/** SOURCE_DATE_EPOCH: whole seconds since 1970. */
export function readEpoch(text: string | undefined): number | undefined {
  if (text === undefined || text === '') return undefined
  if (!/^\d{1,12}$/.test(text)) throw new UsageError(`SOURCE_DATE_EPOCH=${text}: it is no number of seconds`)
  return Number(text)
}

function pairs(option: string, text: string): Map<string, string> {
  return new Map(
    text.split(',').map(field => {
      const equals = field.indexOf('=')
      if (equals < 1) throw new UsageError(`${option} ${text}: ${field} is not name=value`)
      return [field.slice(0, equals), field.slice(equals + 1)]
    }),
  )
}
