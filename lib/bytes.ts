/**
 * Owns the form of names and paths inside lib/sys, lib/layer, lib/union and lib/fuse: **byte strings**.
 * A byte string is a JavaScript string with one char (0..255) for each byte, i.e. the bytes read as latin1. It is
 * lossless for any name the kernel can hold (non-UTF-8 too), is a one-byte string in V8 (fast Map key), and `<` on two
 * of them is byte order. Text from and for people (argv, JSON, terminal) is converted at the edge, here and nowhere else.
 */

/** Text (UTF-16) → byte string of its UTF-8 bytes. ASCII is unchanged. */
export function bytesOf(text: string): string {
  return isAscii(text) ? text : Buffer.from(text, 'utf8').toString('latin1')
}

/** Byte string → text, reading the bytes as UTF-8; bytes that are no UTF-8 become U+FFFD (for showing, not for opening). */
export function textOf(bytes: string): string {
  return isAscii(bytes) ? bytes : Buffer.from(bytes, 'latin1').toString('utf8')
}

/** Byte string → path for `node:fs`, which takes Buffers for names that are not UTF-8. */
export function fsPath(bytes: string): string | Buffer {
  return isAscii(bytes) ? bytes : Buffer.from(bytes, 'latin1')
}

function isAscii(s: string): boolean {
  for (let i = 0; i < s.length; i++) if (s.charCodeAt(i) > 127) return false
  return true
}
