/**
 * Owns the tree that a mount shows: not the filesystem's root inode, but a directory below it that is the same thing.
 * The kernel makes the root inode before INIT, hence before it knows of ACLs, and never caches that one's (fs/fuse,
 * fuse_get_acl): every absolute path of a user who is not its owner would cost a GETXATTR. A directory that is looked up
 * is cached. So the server answers LOOKUP of TREE_NAME in the root with a second node id for the root, and what is put
 * into the world is a private clone of the mount of that directory; the mount it was cloned from goes.
 * Invariant: outside lib/fuse, nobody sees the second node id: requests for it are requests for ROOT.
 */
import { open as openAsync, openSync } from 'node:fs'
import { E } from '../errno.js'
import { AT, O, OPEN_TREE } from '../sys/constants.js'
import { close } from '../sys/file.js'
import { openTree } from '../sys/mount.js'

/** Above any id that a filesystem gives, exact as a number. */
export const TREE_NODE = 2 ** 52
export const TREE_NAME = 'tree'

function path(mountFd: number): string {
  return `/proc/self/fd/${mountFd}/${TREE_NAME}`
}

const DIRECTORY = O.PATH | O.DIRECTORY | O.NOFOLLOW | O.CLOEXEC

/**
 * The mount of the tree, from the detached mount of the whole; it must be served meanwhile by another thread. The fd of
 * the new mount, or `-errno` (EINVAL below Linux 6.15, where a detached mount cannot be cloned).
 */
export function treeOf(mountFd: number): number {
  try {
    return clone(openSync(path(mountFd), DIRECTORY))
  } catch (error) {
    return errnoOf(error)
  }
}

/** `treeOf` for the thread that serves: `done` is called from its event loop. */
export function treeOfAsync(mountFd: number, done: (fd: number) => void): void {
  openAsync(path(mountFd), DIRECTORY, (error, fd) => done(error === null ? clone(fd) : errnoOf(error)))
}

function errnoOf(error: unknown): number {
  return (error as NodeJS.ErrnoException).errno ?? -E.EIO
}

function clone(directory: number): number {
  const fd = openTree(directory, '', OPEN_TREE.CLONE | AT.EMPTY_PATH)
  close(directory)
  return fd
}
