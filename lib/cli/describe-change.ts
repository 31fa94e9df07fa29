/**
 * Owns changes and attributes as JSON. Names are text; a name that is no UTF-8 also comes as `…Base64` with its bytes.
 * Times are ISO 8601 with nanoseconds, modes octal text as chmod takes them.
 */
import { textOf } from '../bytes.js'
import type { Attributes, Change } from '../diff/change.js'
import { modification } from '../diff/change.js'
import { S } from '../sys/constants.js'

const TYPES: Readonly<Record<number, string>> = {
  [S.IFREG]: 'file',
  [S.IFDIR]: 'directory',
  [S.IFLNK]: 'symlink',
  [S.IFCHR]: 'character device',
  [S.IFBLK]: 'block device',
  [S.IFIFO]: 'fifo',
  [S.IFSOCK]: 'socket',
}

export function typeName(mode: number): string {
  return TYPES[mode & S.IFMT] ?? 'unknown'
}

/** `{ [key]: text, [key]Base64?: raw }` of a byte string. */
export function nameJson(key: string, bytes: string): Record<string, string> {
  const text = textOf(bytes)
  if (!text.includes('\ufffd')) return { [key]: text }
  return { [key]: text, [`${key}Base64`]: Buffer.from(bytes, 'latin1').toString('base64') }
}

export function timeText(seconds: number, ns: number): string {
  const date = new Date(seconds * 1000)
  // Beyond what Date can say (year 275760), the number itself.
  if (Number.isNaN(date.getTime())) return `${seconds}.${String(ns).padStart(9, '0')}`
  return date.toISOString().replace(/\.\d+Z$/, `.${String(ns).padStart(9, '0')}Z`)
}

export function attributesJson(a: Attributes): Record<string, unknown> {
  return {
    type: typeName(a.mode),
    mode: (a.mode & 0o7777).toString(8).padStart(4, '0'),
    uid: a.uid,
    gid: a.gid,
    size: a.size,
    mtime: timeText(a.mtime, a.mtimeNs),
  }
}

export function changeJson(change: Change): Record<string, unknown> {
  const { kind } = change
  const json: Record<string, unknown> = { kind, ...nameJson('path', change.path) }
  if (kind === 'renamed') Object.assign(json, nameJson('from', change.from))
  if ('aspects' in change) {
    if (change.aspects.length > 0) json['modification'] = modification(change.aspects)
    json['aspects'] = change.aspects
  }
  if (kind === 'modified' && change.linkTo !== undefined) Object.assign(json, nameJson('linkTo', change.linkTo))
  if ('before' in change) json['before'] = attributesJson(change.before)
  if ('after' in change) json['after'] = attributesJson(change.after)
  return json
}
