/**
 * Owns names of users and groups inside an image: `USER`, `--chown` and a RUN's supplementary groups.
 * Format: passwd(5), group(5) of the image; a number needs no entry.
 * Invariant: the host's own accounts are never asked.
 */
import { closeSync, readFileSync } from 'node:fs'
import { BuildError } from './error.js'
import { isFile, resolve, type Tree } from './tree.js'

export interface Account {
  readonly uid: number
  readonly gid: number
  readonly groups: readonly number[]
  readonly home: string
}

interface Passwd {
  readonly name: string
  readonly uid: number
  readonly gid: number
  readonly home: string
}

interface Group {
  readonly name: string
  readonly gid: number
  readonly members: readonly string[]
}

/** Far more than any image's passwd; a larger one is somebody's trick. */
const MAX_SIZE = 8 << 20

function read(tree: Tree, path: string): string[][] {
  const { path: at, stat, rest } = resolve(tree, path)
  if (rest !== '' || !isFile(stat) || stat.size > MAX_SIZE) return []
  const fd = tree.open(at)
  try {
    return readFileSync(fd, 'utf8')
      .split('\n')
      .map(line => line.split(':'))
  } finally {
    closeSync(fd)
  }
}

const isId = (text: string): boolean => /^\d{1,10}$/.test(text) && Number(text) <= 0xfffffffe

function passwd(tree: Tree): Passwd[] {
  return read(tree, 'etc/passwd')
    .filter(f => f.length >= 6 && isId(f[2]!) && isId(f[3]!))
    .map(f => ({ name: f[0]!, uid: Number(f[2]), gid: Number(f[3]), home: f[5]! }))
}

function groups(tree: Tree): Group[] {
  return read(tree, 'etc/group')
    .filter(f => f.length >= 3 && isId(f[2]!))
    .map(f => ({ name: f[0]!, gid: Number(f[2]), members: (f[3] ?? '').split(',').map(m => m.trim()) }))
}

/**
 * `user`, `uid`, `user:group`, `uid:gid`, '' (root) as a process gets it. Without a group: the user's own, 0 when it
 * has no entry. Supplementary groups only without a group of its own, as Docker does. Throws BuildError USER.
 */
export function accountOf(tree: Tree, text: string): Account {
  const [user = '', group] = text.split(':', 2)
  const all = groups(tree)
  const entry = user === '' ? undefined : find(passwd(tree), user, p => p.uid)
  const rootHome = user === '' ? '/root' : '/'
  if (!entry && user !== '' && !isId(user))
    throw new BuildError('USER', `no user "${user}" in the image's /etc/passwd`, { context: { user } })
  const uid = entry?.uid ?? Number(user || 0)
  const own = entry?.gid ?? 0
  const gid = group === undefined || group === '' ? own : groupId(all, group)
  const supplementary =
    group === undefined && entry ? all.filter(g => g.members.includes(entry.name)).map(g => g.gid) : []
  const home = entry?.home ?? (uid === 0 ? '/root' : rootHome)
  return { uid, gid, groups: supplementary.filter(g => g !== gid), home: home === '' ? '/' : home }
}

/** `--chown`: as `accountOf`, but a bare number is user and group both. Throws BuildError USER. */
export function ownerOf(tree: Tree, text: string): { uid: number; gid: number } {
  const [user = '', group] = text.split(':', 2)
  if (isId(user)) {
    const uid = Number(user)
    return { uid, gid: group === undefined || group === '' ? uid : groupId(groups(tree), group) }
  }
  const { uid, gid } = accountOf(tree, user === '' ? '' : text)
  return user === '' && group !== undefined ? { uid, gid: groupId(groups(tree), group) } : { uid, gid }
}

function groupId(all: Group[], text: string): number {
  const found = all.find(g => g.name === text)
  if (found) return found.gid
  if (isId(text)) return Number(text)
  throw new BuildError('USER', `no group "${text}" in the image's /etc/group`, { context: { group: text } })
}

/** By name first: a user may be called `1000`. */
function find<T extends { name: string }>(entries: T[], text: string, id: (entry: T) => number): T | undefined {
  return entries.find(e => e.name === text) ?? (isId(text) ? entries.find(e => id(e) === Number(text)) : undefined)
}
