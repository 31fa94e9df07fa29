/**
 * Owns the record of what happened to containers: `<root>/events`, JSON lines, appended with one write each, cut to its
 * newer half when it grows beyond a size.
 */
import { appendFileSync, mkdirSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Container } from './containers.js'

export interface Event {
  /** ISO 8601. */
  time: string
  type: 'container'
  action: string
  id: string
  name: string
  image: string
  attributes: Record<string, string>
}

const LIMIT = 4 << 20

export function eventsPath(root: string): string {
  return join(root, 'events')
}

export function emit(
  root: string,
  { id, config }: Pick<Container, 'id' | 'config'>,
  action: string,
  attributes: Record<string, string> = {},
): void {
  const image = config.root.kind === 'image' ? config.root.reference : config.root.path
  const event: Event = {
    time: new Date().toISOString(),
    type: 'container',
    action,
    id,
    name: config.name,
    image,
    attributes,
  }
  const path = eventsPath(root)
  mkdirSync(root, { recursive: true })
  appendFileSync(path, `${JSON.stringify(event)}\n`, { mode: 0o600 })
  if (statSync(path).size > LIMIT) shorten(path)
}

function shorten(path: string): void {
  const text = readFileSync(path, 'utf8')
  const half = text.indexOf('\n', text.length >> 1) + 1
  writeFileSync(`${path}.tmp`, text.slice(half), { mode: 0o600 })
  renameSync(`${path}.tmp`, path)
}

/** Every event recorded, oldest first; lines cut by a crash are skipped. */
export function readEvents(text: string): Event[] {
  return text.split('\n').flatMap(line => {
    try {
      return line === '' ? [] : [JSON.parse(line) as Event]
    } catch {
      return []
    }
  })
}
