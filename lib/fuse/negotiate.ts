/**
 * Owns the INIT handshake: what the kernel offers, what we want, what both will do (linux/fuse.h, fuse_init_in/out).
 * Serves protocol 7.23 and later; 7.31 (Linux 5.4) and later are tried. Flags beyond bit 31 exist from 7.36 on.
 * Invariant: nothing is asked for that was not offered.
 */
import { Init, Init2, MAJOR, MAX_IO, MINOR, OUT_HEADER, Size } from './protocol.js'
import type { Reply } from './reply.js'
import type { Request } from './request.js'

/** What the session would like, to be cut down to what the kernel offers. */
export interface Wishes {
  /** Backing files: the process has CAP_SYS_ADMIN in the initial user namespace, as far as it knows. */
  passthrough: boolean
  /** Write-back caching where there is no passthrough. */
  writeback: boolean
  /** POSIX ACLs, checked by the kernel. Costs a GETXATTR per file looked at by other users than the owner. */
  acl: boolean
  /** Opens that cost no request (unannounced.ts), where there is no passthrough and all writes are cached. */
  noOpen: boolean
  /** 2 where a layer lies on a stacking filesystem such as overlayfs, else 1 (fs.h: FILESYSTEM_MAX_STACK_DEPTH). */
  stackDepth: 1 | 2
}

/** What was agreed. */
export interface Agreed {
  minor: number
  passthrough: boolean
  writeback: boolean
  dontMask: boolean
  noOpendir: boolean
  noOpen: boolean
  acl: boolean
  killPrivV2: boolean
  setxattrExt: boolean
  suppGroups: boolean
  flags: number
  flags2: number
}

const WANTED =
  Init.ASYNC_READ |
  Init.ATOMIC_O_TRUNC |
  Init.BIG_WRITES |
  Init.DONT_MASK |
  Init.HAS_IOCTL_DIR |
  Init.DO_READDIRPLUS |
  Init.ASYNC_DIO |
  Init.PARALLEL_DIROPS |
  Init.ABORT_ERROR |
  Init.MAX_PAGES |
  Init.CACHE_SYMLINKS |
  Init.NO_OPENDIR_SUPPORT |
  Init.EXPLICIT_INVAL_DATA |
  Init.HANDLE_KILLPRIV_V2 |
  Init.SETXATTR_EXT
const WANTED2 = Init2.CREATE_SUPP_GROUP | Init2.HAS_EXPIRE_ONLY | Init2.DIRECT_IO_ALLOW_MMAP

/** 'retry': the kernel speaks a later major, told ours, and sends INIT again. 'unsupported': too old to serve. */
export type Negotiated = { readonly result: Agreed; readonly payload: number } | 'retry' | 'unsupported'

/** Reads the INIT `request` and fills `reply` after its header. */
export function negotiate(request: Request, reply: Reply, wishes: Wishes): Negotiated {
  const major = request.u32(40)
  const minor = request.u32(44)
  if (major > MAJOR) {
    reply.zero(OUT_HEADER, OUT_HEADER + Size.initOut)
    reply.u32(OUT_HEADER, MAJOR)
    reply.u32(OUT_HEADER + 4, MINOR)
    return 'retry'
  }
  if (major < MAJOR || minor < 23) return 'unsupported'

  const offered = request.u32(52)
  const offered2 = (offered & Init.INIT_EXT) !== 0 && request.length >= 60 ? request.u32(56) : 0
  const passthrough = wishes.passthrough && (offered2 & Init2.PASSTHROUGH) !== 0
  const writeback = wishes.writeback && !passthrough && (offered & Init.WRITEBACK_CACHE) !== 0
  const noOpen =
    wishes.noOpen && !passthrough && writeback === wishes.writeback && (offered & Init.NO_OPEN_SUPPORT) !== 0
  let flags = offered & (WANTED | Init.INIT_EXT)
  let flags2 = offered2 & WANTED2
  if (wishes.acl) flags |= offered & Init.POSIX_ACL
  if (passthrough) flags2 |= Init2.PASSTHROUGH
  if (writeback) flags |= Init.WRITEBACK_CACHE
  // An open that nobody hears of cannot truncate: the kernel sends a SETATTR.
  if (noOpen) flags = (flags & ~Init.ATOMIC_O_TRUNC) | Init.NO_OPEN_SUPPORT
  flags >>>= 0

  reply.zero(OUT_HEADER, OUT_HEADER + Size.initOut)
  reply.u32(OUT_HEADER, MAJOR)
  reply.u32(OUT_HEADER + 4, Math.min(minor, MINOR))
  reply.u32(OUT_HEADER + 8, request.u32(48)) // max_readahead: all that is offered
  reply.u32(OUT_HEADER + 12, flags)
  reply.u16(OUT_HEADER + 16, 64) // max_background: parallel read-ahead and write-back
  reply.u16(OUT_HEADER + 18, 48) // congestion_threshold
  reply.u32(OUT_HEADER + 20, MAX_IO)
  reply.u32(OUT_HEADER + 24, 1) // time_gran: nanoseconds
  reply.u16(OUT_HEADER + 28, MAX_IO / 4096)
  reply.u32(OUT_HEADER + 32, flags2)
  reply.u32(OUT_HEADER + 36, passthrough ? wishes.stackDepth : 0)
  return {
    payload: Size.initOut,
    result: {
      minor: Math.min(minor, MINOR),
      passthrough,
      writeback,
      dontMask: (flags & Init.DONT_MASK) !== 0,
      noOpen,
      noOpendir: (flags & Init.NO_OPENDIR_SUPPORT) !== 0,
      acl: (flags & Init.POSIX_ACL) !== 0,
      killPrivV2: (flags & Init.HANDLE_KILLPRIV_V2) !== 0,
      setxattrExt: (flags & Init.SETXATTR_EXT) !== 0,
      suppGroups: (flags2 & Init2.CREATE_SUPP_GROUP) !== 0,
      flags,
      flags2,
    },
  }
}
