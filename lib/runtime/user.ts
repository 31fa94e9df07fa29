/**
 * Owns who a container's process is: `-u name|uid[:group|gid]` read against the image's own /etc/passwd and /etc/group.
 * Formats: passwd(5), group(5); lines that are none are skipped. Invariant: the files' text comes in as data, read
 * inside the root by `readInRoot`; nothing here opens a path of the image.
 */
import { RuntimeError } from './error.js'

export interface Identity {
  uid: number
  gid: number
  /** Supplementary groups. */
  groups: number[]
  home: string
}

interface Account {
  name: string
  uid: number
  gid: number
  home: string
}

/** Ids are 32 bits, and -1 means "leave as it is" to the kernel. */
const MAX_ID = 0xfffffffe

function id(text: string | undefined): number | undefined {
  if (text === undefined || !/^\d{1,10}$/.test(text)) return undefined
  const n = Number(text)
  return n <= MAX_ID ? n : undefined
}

function accounts(passwd: string): Account[] {
  return passwd.split('\n').flatMap(line => {
    const [name = '', , u, g, , home = ''] = line.split(':')
    const uid = id(u)
    const gid = id(g)
    return name === '' || uid === undefined || gid === undefined ? [] : [{ name, uid, gid, home }]
  })
}

function groupsOf(group: string): { name: string; gid: number; members: string[] }[] {
  return group.split('\n').flatMap(line => {
    const [name = '', , g, members = ''] = line.split(':')
    const gid = id(g)
    return name === '' || gid === undefined ? [] : [{ name, gid, members: members.split(',').filter(Boolean) }]
  })
}

/**
 * Who `spec` is. A number need not be in passwd; a name must. With a group given there are no groups but it and `add`.
 * Throws INVALID_USER.
 */
export function identify(spec: string, passwd: string, group: string, add: readonly string[] = []): Identity {
  const [user = '', wantedGroup] = spec.split(':', 2)
  const known = accounts(passwd)
  const groups = groupsOf(group)
  const number = id(user)
  const account =
    user === ''
      ? known.find(a => a.uid === 0)
      : (known.find(a => a.name === user) ?? (number === undefined ? undefined : known.find(a => a.uid === number)))
  if (account === undefined && number === undefined && user !== '')
    throw new RuntimeError('INVALID_USER', `user ${spec}: no user '${user}' in the container's /etc/passwd`)
  const groupId = (name: string): number => {
    const found = groups.find(g => g.name === name)?.gid ?? id(name)
    if (found === undefined)
      throw new RuntimeError('INVALID_USER', `group ${name}: no such group in the container's /etc/group`)
    return found
  }
  const explicit = wantedGroup === undefined || wantedGroup === '' ? undefined : groupId(wantedGroup)
  const member =
    explicit !== undefined || account === undefined
      ? []
      : groups.filter(g => g.members.includes(account.name)).map(g => g.gid)
  return {
    uid: account?.uid ?? number ?? 0,
    gid: explicit ?? account?.gid ?? 0,
    groups: [...new Set([...member, ...add.map(groupId)])],
    home: account === undefined || account.home === '' ? '/' : account.home,
  }
}
