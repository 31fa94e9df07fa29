/**
 * Owns how foreign text (file names, labels, log-ins) is shown on a terminal: nothing that is printed can move the cursor,
 * change colours, break a line, reorder text or hide characters.
 * Format: C escapes. `\n \t \r`, `\xNN` for other control characters and for bytes that are no UTF-8, `\u{…}` for
 * invisible and bidirectional format characters, `\\` for a backslash.
 * Invariant: reversible (two different names never look the same) and idempotent on plain text.
 */

// Controls (C0, DEL, C1), line and paragraph separators, bidi marks/embeddings/isolates, zero-width, BOM, tags, surrogates.
const UNSAFE =
  // eslint-disable-next-line no-control-regex
  /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff\u{e0000}-\u{e007f}]/u

/** Text from anywhere → text safe for a terminal. Line breaks are escaped as well. */
export function printable(text: string): string {
  if (!UNSAFE.test(text) && !text.includes('\\')) return text
  let shown = ''
  for (const char of text) shown += char === '\\' ? '\\\\' : UNSAFE.test(char) ? escape(char) : char
  return shown
}

const strict = new TextDecoder('utf-8', { fatal: true })

/** A byte string (lib/bytes.ts) → text safe for a terminal; bytes that are no UTF-8 are shown as `\xNN`. */
export function printableBytes(bytes: string): string {
  const raw = Buffer.from(bytes, 'latin1')
  try {
    return printable(strict.decode(raw))
  } catch {
    return validRuns(raw)
  }
}

function escape(char: string): string {
  const code = char.codePointAt(0) ?? 0
  if (char === '\n') return '\\n'
  if (char === '\t') return '\\t'
  if (char === '\r') return '\\r'
  return code < 0x80 ? `\\x${hex(code)}` : `\\u{${code.toString(16)}}`
}

function hex(byte: number): string {
  return byte.toString(16).padStart(2, '0')
}

/** Decodes sequence by sequence, so one wrong byte does not spoil its neighbours. */
function validRuns(raw: Buffer): string {
  let shown = ''
  for (let at = 0; at < raw.length;) {
    const lead = raw[at] ?? 0
    const length = lead < 0x80 ? 1 : lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2
    try {
      shown += printable(strict.decode(raw.subarray(at, at + length)))
      at += length
    } catch {
      shown += `\\x${hex(lead)}`
      at++
    }
  }
  return shown
}
