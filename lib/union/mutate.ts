/**
 * Owns the union's one way to change a disk: every mutating system call of lib/union goes through `mutate`.
 * So a test can make the k-th change fail, or end the process there, and look at what is left (crash safety).
 * Invariant: no other file of lib/union imports a mutating call from lib/sys.
 */
import { linkat, linkFd, mkdirat, mknodat, renameat2, rmdirat, symlinkat, unlinkat } from '../sys/dir.js'
import {
  copyFileRange,
  fallocate,
  fdatasync,
  ficlone,
  fsync,
  ftruncate,
  ioctl,
  openat,
  pwriteAt,
  syncfs,
} from '../sys/file.js'
import { copyData } from '../sys/job.js'
import { chmodat, chownat, fchmod, futimens, utimensat } from '../sys/stat.js'
import { fremovexattr, fsetxattr, removexattrat, setxattrat } from '../sys/xattr.js'

/** The mutating calls, replaceable one by one. `openat` is here for its O_CREAT, O_TRUNC and O_TMPFILE forms. */
export const mutate = {
  openat,
  mkdirat,
  mknodat,
  symlinkat,
  linkat,
  linkFd,
  unlinkat,
  rmdirat,
  renameat2,
  chmodat,
  fchmod,
  chownat,
  utimensat,
  futimens,
  setxattrat,
  fsetxattr,
  removexattrat,
  fremovexattr,
  ftruncate,
  fallocate,
  pwriteAt,
  copyFileRange,
  copyData,
  ioctl,
  fsync,
  fdatasync,
  ficlone,
  syncfs,
}
