/**
 * Owns the layout of the index: the EROFS on-disk numbers that the writer and the reader share, the mapping of xattr
 * names, and the conventions laid on top (Linux Documentation/filesystems/erofs.rst, fs/erofs/erofs_fs.h; overlayfs.rst).
 *
 * An index is a plain EROFS image without file data: names, attributes, xattrs. A regular file with content says where
 * its content is by `trusted.overlay.redirect` (`/.lamina/ab/cdef…`, below the objects directory) and an empty
 * `trusted.overlay.metacopy`: so the kernel's overlayfs, given the objects directory as a data-only layer, reads the same
 * files. Marks of one layer: whiteout = char device 0:0, opaque = `trusted.overlay.opaque` = y.
 * The 1024 bytes that EROFS leaves to boot loaders hold our own header: magic, version, and the SHA-256 of a table behind the
 * last block, which has the SHA-256 of each 64 KiB (index-bytes.ts).
 * Invariant: `trusted.overlay.*` and `user.overlay.*` of a file's own are stored escaped, so no layer can point at objects.
 */
export const BLOCK = 4096
export const BLOCK_BITS = 12
export const SLOT = 32
/** Bytes of a directory entry before its name. */
export const DIRENT = 12
export const SUPERBLOCK_AT = 1024
/** Where the superblock says how many blocks the image has. */
export const BLOCKS_AT = SUPERBLOCK_AT + 36
export const MAGIC = 0xe0f5e1e2
/** The first inode slot behind the superblock: (1024 + 128) / 32. */
export const FIRST_NID = 36

export const COMPAT_CHECKSUM = 1
export const COMPAT_MTIME = 2
export const INCOMPAT_CHUNKED = 4

export const Layout = { FlatPlain: 0, FlatInline: 2, ChunkBased: 4 } as const
export const NULL_BLOCK = 0xffffffff
/** The largest chunk one table entry stands for: 2^43 bytes. */
export const MAX_CHUNK_BITS = 43

export const HEADER_MAGIC = 'lamina-index'
export const HEADER_VERSION = 2
export const HEADER_VERSION_AT = 16
export const HEADER_HASH_AT = 32

/** Reserved first path component of redirects. Layers may not have it in their root (tar-ingest refuses it). */
export const RESERVED = '.lamina'
const REDIRECT_PREFIX = `/${RESERVED}/`
/** Length of `/.lamina/ab/` and 62 digits. */
export const REDIRECT_LENGTH = REDIRECT_PREFIX.length + 65

/** Content address of the empty file: it has no redirect, and the store always holds its object. */
export const EMPTY_SHA256 = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'

/** Where the object with this SHA-256 (hex) lies below the objects directory. */
export function objectPath(hex: string): string {
  return `${RESERVED}/${hex.slice(0, 2)}/${hex.slice(2)}`
}

export function redirectOf(hex: string): string {
  return `${REDIRECT_PREFIX}${hex.slice(0, 2)}/${hex.slice(2)}`
}

/** The SHA-256 (hex) that a redirect names, or undefined when it is not exactly of our form. */
export function hexOfRedirect(redirect: string): string | undefined {
  if (redirect.length !== REDIRECT_LENGTH || !redirect.startsWith(REDIRECT_PREFIX)) return undefined
  const at = REDIRECT_PREFIX.length
  if (redirect.charCodeAt(at + 2) !== 47) return undefined
  const hex = redirect.slice(at, at + 2) + redirect.slice(at + 3)
  for (let i = 0; i < 64; i++) {
    const c = hex.charCodeAt(i)
    if (!((c >= 48 && c <= 57) || (c >= 97 && c <= 102))) return undefined
  }
  return hex
}

/** xattr namespaces that EROFS can hold: prefix by index (fs/erofs/xattr.h). ACLs have an index and no suffix. */
export const XATTR_PREFIXES: readonly [index: number, prefix: string][] = [
  [1, 'user.'],
  [4, 'trusted.'],
  [6, 'security.'],
]
export const XATTR_ACL_ACCESS = 2
export const XATTR_ACL_DEFAULT = 3

/** Index of an xattr's namespace, or 0 when the format has none for it. */
export function xattrIndex(name: string): number {
  if (name === 'system.posix_acl_access') return XATTR_ACL_ACCESS
  if (name === 'system.posix_acl_default') return XATTR_ACL_DEFAULT
  for (const [index, prefix] of XATTR_PREFIXES) if (name.startsWith(prefix) && name.length > prefix.length) return index
  return 0
}

/** What of `name` is stored beside its index. */
export function xattrSuffix(name: string, index: number): string {
  if (index === XATTR_ACL_ACCESS || index === XATTR_ACL_DEFAULT) return ''
  return name.slice(name.indexOf('.') + 1)
}

/** The full name, or undefined for an index that no Linux namespace of ours has. */
export function xattrName(index: number, suffix: string): string | undefined {
  switch (index) {
    case 1:
      return `user.${suffix}`
    case XATTR_ACL_ACCESS:
      return suffix === '' ? 'system.posix_acl_access' : undefined
    case XATTR_ACL_DEFAULT:
      return suffix === '' ? 'system.posix_acl_default' : undefined
    case 4:
      return `trusted.${suffix}`
    case 6:
      return `security.${suffix}`
    default:
      return undefined
  }
}

/** dirent file types (the generic FT_* of the kernel) by `mode >> 12`, and DT_* by file type. */
export const FT_OF_MODE: readonly number[] = [0, 5, 3, 0, 2, 0, 4, 0, 1, 0, 7, 0, 6, 0, 0, 0]
export const DT_OF_FT: readonly number[] = [0, 8, 4, 2, 6, 1, 12, 10]

const crcTable = new Uint32Array(256)
for (let n = 0; n < 256; n++) {
  let c = n
  for (let k = 0; k < 8; k++) c = c & 1 ? (c >>> 1) ^ 0x82f63b78 : c >>> 1
  crcTable[n] = c >>> 0
}

/** CRC-32C as EROFS wants it: initial value all ones, no final inversion. */
export function crc32c(bytes: Uint8Array): number {
  let c = 0xffffffff
  for (const byte of bytes) c = (crcTable[(c ^ byte) & 0xff] ?? 0) ^ (c >>> 8)
  return c >>> 0
}
