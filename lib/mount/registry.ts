/**
 * Owns the list of mounts: one JSON file per mount under `<run root>/mounts`, beside it the server's log (`ID.log`) and
 * its counters (`ID.stats`). The server writes its file when the mount answers and removes it when the mount is gone;
 * what a killed server leaves is told apart by its process (pid and start time) and by asking the mount itself.
 * Invariant: a file is whole or absent (written aside, then renamed).
 */
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statfs, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { ownMounts } from './mount-table.js'
import type { MountSpec } from './spec.js'

export interface MountRecord {
  readonly id: string
  readonly pid: number
  /** The process's start time in clock ticks since boot (proc_pid_stat(5), field 22): pids are used again. */
  readonly startTime: number
  readonly mountpoint: string
  readonly spec: MountSpec
  /** ISO 8601. */
  readonly since: string
  readonly log: string
  readonly stats: string
  /** The kernel reads and writes the files itself. */
  readonly passthrough: boolean
}

/** `serving`; `hung`: it is there and does not answer; `dead`: mounted, its server is gone; `gone`: not mounted any more. */
export type MountState = 'serving' | 'hung' | 'dead' | 'gone'

export interface MountStatus extends MountRecord {
  readonly state: MountState
}

function directory(runRoot: string): string {
  return join(runRoot, 'mounts')
}

/** Names the files of a new mount; makes their directory. */
export function reserve(runRoot: string): { id: string; record: string; log: string; stats: string } {
  const id = Math.floor(Math.random() * 2 ** 48)
    .toString(16)
    .padStart(12, '0')
  const dir = directory(runRoot)
  mkdirSync(dir, { recursive: true, mode: 0o755 })
  return { id, record: join(dir, `${id}.json`), log: join(dir, `${id}.log`), stats: join(dir, `${id}.stats`) }
}

export function register(runRoot: string, record: MountRecord): void {
  const file = join(directory(runRoot), `${record.id}.json`)
  writeFileSync(`${file}.new`, JSON.stringify(record))
  renameSync(`${file}.new`, file)
}

/** Takes a mount off the list; its log stays only if `keepLog`. */
export function deregister(runRoot: string, id: string, keepLog = false): void {
  const dir = directory(runRoot)
  for (const ending of ['json', 'stats', ...(keepLog ? [] : ['log'])])
    rmSync(join(dir, `${id}.${ending}`), { force: true })
}

/** What is on the list, oldest first. */
export function records(runRoot: string): MountRecord[] {
  let names: string[]
  try {
    names = readdirSync(directory(runRoot))
  } catch {
    return []
  }
  const found: MountRecord[] = []
  for (const name of names) {
    if (!name.endsWith('.json')) continue
    try {
      found.push(JSON.parse(readFileSync(join(directory(runRoot), name), 'utf8')) as MountRecord)
    } catch {
      // Its server has just removed it.
    }
  }
  return found.sort((a, b) => (a.since < b.since ? -1 : 1))
}

/** Start time of a live process, undefined when there is none. */
export function startTimeOf(pid: number): number | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'latin1')
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
    return fields[0] === 'Z' ? undefined : Number(fields[19])
  } catch {
    return undefined
  }
}

export function isAlive(record: Pick<MountRecord, 'pid' | 'startTime'>): boolean {
  return startTimeOf(record.pid) === record.startTime
}

const ANSWER_MS = 5000

/** What state a mount is in. Asks the mount by statfs, which a dead one answers ENOTCONN, cached or not. */
export async function stateOf(record: MountRecord): Promise<MountState> {
  const mounted = ownMounts().some(mount => mount.mountpoint === record.mountpoint)
  if (!mounted) return isAlive(record) ? 'serving' : 'gone'
  if (!isAlive(record)) return 'dead'
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<'hung'>(resolve => (timer = setTimeout(resolve, ANSWER_MS, 'hung')))
  const asked = new Promise<MountState>(resolve =>
    statfs(record.mountpoint, error => resolve(error?.code === 'ENOTCONN' ? 'dead' : 'serving')),
  )
  const state = await Promise.race([asked, late])
  clearTimeout(timer)
  return state
}

/** Every mount on the list with its state; those that are gone are taken off. */
export async function listMounts(runRoot: string): Promise<MountStatus[]> {
  const list: MountStatus[] = []
  for (const record of records(runRoot)) {
    const state = await stateOf(record)
    if (state === 'gone') deregister(runRoot, record.id)
    else list.push({ ...record, state })
  }
  return list
}
