/**
 * Owns making objects in the name of the caller: owner, group and mode come from the kernel's own rules (set-group-ID
 * directories, default ACLs), not from a chown afterwards, so there is no instant at which they are wrong.
 * How: the thread takes the caller's fsuid and fsgid for the one call. SECBIT_NO_SETUID_FIXUP keeps the capabilities
 * meanwhile, for the permission check has been made (by the kernel, on the mount) and must not be made again on the upper.
 * The caller's supplementary group needs no care: VFS decides about set-group-ID before it asks.
 * The umask: modes arrive unmasked (DONT_MASK); it is applied unless the parent has a default ACL, which replaces it.
 */
import { securebits, SECBIT_NO_SETUID_FIXUP, setfsgid, setfsuid, setSecurebits, umask } from '../sys/credentials.js'
import { getxattrSizeAt } from '../sys/xattr.js'
import type { Caller } from './filesystem.js'
import type { Node } from './node.js'
import type { Tree } from './tree.js'
import { directoryFd } from './upper.js'

/** The process's own ids: `become` has nothing to do for them. */
const ownUid = process.geteuid?.() ?? 0
const ownGid = process.getegid?.() ?? 0

/** The process's umask: nobody makes it stricter while something is served. */
let ownMask = umask(0)
umask(ownMask)

let bits = 0
let unmasked = false

/** Takes the caller's identity until `revert`, and the umask away where it would take something from `mode`. */
export function become(caller: Caller, mode: number): void {
  unmasked = (mode & ownMask) !== 0
  if (unmasked) ownMask = umask(0)
  if (caller.uid === ownUid && caller.gid === ownGid) return
  bits = securebits()
  setSecurebits(bits | SECBIT_NO_SETUID_FIXUP)
  setfsgid(caller.gid)
  setfsuid(caller.uid)
}

/** Takes the process's own identity back. */
export function revert(caller: Caller): void {
  if (unmasked) umask(ownMask)
  if (caller.uid === ownUid && caller.gid === ownGid) return
  setfsuid(ownUid)
  setfsgid(ownGid)
  setSecurebits(bits)
}

/** The mode to create with in an upper directory: a default ACL there takes the place of the umask. */
export function createMode(tree: Tree, parent: Node, mode: number, caller: Caller): number {
  if (!tree.host.dontMask) return mode
  return hasDefaultAcl(tree, parent) ? mode : mode & ~caller.umask
}

/** Whether the upper directory of `parent` has a default ACL. Asked once, remembered until it is set through us. */
export function hasDefaultAcl(tree: Tree, parent: Node): boolean {
  const dir = parent.dir
  if (dir === null) return false
  if (dir.defaultAcl < 0) {
    const fd = directoryFd(tree, parent)
    dir.defaultAcl = fd >= 0 && getxattrSizeAt(fd, '', 'system.posix_acl_default') > 0 ? 1 : 0
  }
  return dir.defaultAcl === 1
}
