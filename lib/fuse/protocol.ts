/**
 * Owns the numbers of the kernel's FUSE protocol, version 7.45: opcodes, flag bits, record sizes (linux/fuse.h).
 * All integers are little-endian, which is the host's order on the architectures we run on. Field offsets are written
 * where the field is read or filled (request.ts, reply.ts, handlers.ts), as `header + offset in the struct`.
 */

export const MAJOR = 7
export const MINOR = 45

/** Bytes of fuse_in_header and fuse_out_header. */
export const IN_HEADER = 40
export const OUT_HEADER = 16

/** The largest READ and WRITE that we ask for (max_pages 256). */
export const MAX_IO = 1024 * 1024

export const Op = {
  LOOKUP: 1,
  FORGET: 2,
  GETATTR: 3,
  SETATTR: 4,
  READLINK: 5,
  SYMLINK: 6,
  MKNOD: 8,
  MKDIR: 9,
  UNLINK: 10,
  RMDIR: 11,
  RENAME: 12,
  LINK: 13,
  OPEN: 14,
  READ: 15,
  WRITE: 16,
  STATFS: 17,
  RELEASE: 18,
  FSYNC: 20,
  SETXATTR: 21,
  GETXATTR: 22,
  LISTXATTR: 23,
  REMOVEXATTR: 24,
  FLUSH: 25,
  INIT: 26,
  OPENDIR: 27,
  READDIR: 28,
  RELEASEDIR: 29,
  FSYNCDIR: 30,
  GETLK: 31,
  SETLK: 32,
  SETLKW: 33,
  ACCESS: 34,
  CREATE: 35,
  INTERRUPT: 36,
  BMAP: 37,
  DESTROY: 38,
  IOCTL: 39,
  POLL: 40,
  NOTIFY_REPLY: 41,
  BATCH_FORGET: 42,
  FALLOCATE: 43,
  READDIRPLUS: 44,
  RENAME2: 45,
  LSEEK: 46,
  COPY_FILE_RANGE: 47,
  SETUPMAPPING: 48,
  REMOVEMAPPING: 49,
  SYNCFS: 50,
  TMPFILE: 51,
  STATX: 52,
  COPY_FILE_RANGE_64: 53,
} as const
export type OpName = keyof typeof Op

/** One more than the largest opcode: the length of a table by opcode. */
export const OP_COUNT = 54

/** INIT `flags`: bits 0..31. */
export const Init = {
  ASYNC_READ: 1 << 0,
  ATOMIC_O_TRUNC: 1 << 3,
  BIG_WRITES: 1 << 5,
  DONT_MASK: 1 << 6,
  HAS_IOCTL_DIR: 1 << 11,
  DO_READDIRPLUS: 1 << 13,
  READDIRPLUS_AUTO: 1 << 14,
  ASYNC_DIO: 1 << 15,
  WRITEBACK_CACHE: 1 << 16,
  NO_OPEN_SUPPORT: 1 << 17,
  PARALLEL_DIROPS: 1 << 18,
  POSIX_ACL: 1 << 20,
  ABORT_ERROR: 1 << 21,
  MAX_PAGES: 1 << 22,
  CACHE_SYMLINKS: 1 << 23,
  NO_OPENDIR_SUPPORT: 1 << 24,
  EXPLICIT_INVAL_DATA: 1 << 25,
  HANDLE_KILLPRIV_V2: 1 << 28,
  SETXATTR_EXT: 1 << 29,
  INIT_EXT: 1 << 30,
} as const

/** INIT `flags2`: bits 32..63, shifted down. */
export const Init2 = {
  CREATE_SUPP_GROUP: 1 << 2,
  HAS_EXPIRE_ONLY: 1 << 3,
  DIRECT_IO_ALLOW_MMAP: 1 << 4,
  PASSTHROUGH: 1 << 5,
} as const

/** open_out.open_flags. */
export const FOpen = {
  DIRECT_IO: 1,
  KEEP_CACHE: 2,
  CACHE_DIR: 8,
  NOFLUSH: 32,
  PARALLEL_DIRECT_WRITES: 64,
  PASSTHROUGH: 128,
} as const

export const OPEN_KILL_SUIDGID = 1
export const WRITE_KILL_SUIDGID = 4
export const SETXATTR_ACL_KILL_SGID = 1
export const GETATTR_FH = 1
export const FSYNC_FDATASYNC = 1
/** setattr_in.valid: the `fh` field counts. */
export const FATTR_FH = 0x40
/** Extension record type: supplementary groups (fuse_ext_header). */
export const EXT_GROUPS = 32

/** Notification codes (server to kernel, unique 0). */
export const Notify = { INVAL_INODE: 2, INVAL_ENTRY: 3, STORE: 4, INC_EPOCH: 8 } as const

/** ioctls of /dev/fuse, magic 229. */
export const BACKING_OPEN = 0x4010e501
export const BACKING_CLOSE = 0x4004e502

/** Bytes of the records that replies are made of. */
export const Size = {
  attr: 88,
  entryOut: 128,
  attrOut: 104,
  statxOut: 288,
  openOut: 16,
  statfsOut: 80,
  initOut: 64,
  dirent: 24,
  direntplus: 152,
} as const

/** A handler's result when the kernel expects no answer. */
export const NO_REPLY = -0x40000001
