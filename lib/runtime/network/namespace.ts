/**
 * Owns making network namespaces and reaching into them: as root the calling thread steps in and back; an ordinary user's
 * process could not come back (its own belongs to somebody else), so there a child does what is to be done inside, and
 * what it opens is this process's too.
 * Invariant: the calling thread is back in its own network namespace whenever anything else can run.
 */
import { closeSync, readFileSync } from 'node:fs'
import { bytesOf } from '../../bytes.js'
import { errnoName, FsError } from '../../errno.js'
import { Birth } from '../../sys/birth.js'
import { AT, CLONE, O } from '../../sys/constants.js'
import { runErrand } from '../../sys/errand.js'
import { close, open } from '../../sys/file.js'
import { setns, unshare } from '../../sys/mount.js'
import { Netlink } from '../../sys/netlink.js'
import { CALL } from '../../sys/process.js'
import { RuntimeError } from '../error.js'
import { ProcessSteps } from '../process-steps.js'

export interface Namespace {
  fd: number
  /** A socket inside it. */
  netlink: Netlink
}

const OWN = '/proc/thread-self/ns/net'

/** A new network namespace with its loopback up. The thread steps in, opens what is needed, and steps back. */
export function newNamespace(): Namespace {
  const own = open(OWN, O.RDONLY)
  if (own < 0) throw new FsError(own, 'open', OWN)
  try {
    const r = unshare(CLONE.NEWNET)
    if (r < 0) throw new RuntimeError('NOT_PERMITTED', 'network: a namespace of its own is not permitted')
    try {
      const fd = open(OWN, O.RDONLY)
      if (fd < 0) throw new FsError(fd, 'open', OWN)
      const netlink = new Netlink()
      netlink.up(1)
      return { fd, netlink }
    } finally {
      const back = setns(own, CLONE.NEWNET)
      // Going on in the wrong namespace would be worse than not going on.
      if (back < 0) process.abort()
    }
  } finally {
    close(own)
  }
}

/** The same, made by a child: an fd of it. */
export function newNamespaceApart(): number {
  const birth = new Birth()
  const at = birth.step(`open ${OWN}`, CALL.openat, [AT.FDCWD, OWN, O.RDONLY | O.CLOEXEC, 0])
  const fd = run(birth, at, CLONE.NEWNET | CLONE.FILES)
  const up = new Birth()
  enter(up, fd)
  new ProcessSteps(up).loopback()
  // Its socket goes with the child: it has descriptors of its own.
  run(up, 0, 0)
  return fd
}

const SOCKET = process.arch === 'arm64' ? 198 : 41
const AF_INET = 2
/** SOCK_STREAM, SOCK_DGRAM. */
const kinds = { tcp: 1, udp: 2 } as const

/** A new socket of the network namespace `fd`, not blocking. */
export function socketIn(fd: number, protocol: 'tcp' | 'udp'): number {
  const birth = new Birth()
  enter(birth, fd)
  const made = birth.step('socket', SOCKET, [AF_INET, kinds[protocol] | O.NONBLOCK | O.CLOEXEC, 0])
  return run(birth, made, CLONE.FILES)
}

/** What /proc/net/NAME says in the network namespace `fd`. */
export function readIn(fd: number, name: string): string {
  const path = `/proc/thread-self/net/${name}`
  const birth = new Birth()
  enter(birth, fd)
  const opened = birth.step(`open ${path}`, CALL.openat, [AT.FDCWD, bytesOf(path), O.RDONLY | O.CLOEXEC, 0])
  const file = run(birth, opened, CLONE.FILES)
  try {
    return readFileSync(file, 'latin1')
  } finally {
    closeSync(file)
  }
}

function enter(birth: Birth, fd: number): void {
  birth.step('join network namespace', CALL.setns, [fd, CLONE.NEWNET])
}

/** Runs the table to its end in a child and returns what the step `wanted` returned. */
function run(birth: Birth, wanted: number, flags: number): number {
  const failed = runErrand(birth, { flags })
  if (failed !== undefined) {
    const what = failed.what === 'clone3' ? 'a namespace of its own' : failed.what
    throw new RuntimeError('NOT_PERMITTED', `network: ${what}: ${errnoName(failed.errno)}`)
  }
  return birth.result(wanted) ?? -1
}
