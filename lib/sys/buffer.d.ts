/** Node's Buffer methods that its published types leave out. They are documented in Node's source and stable since v4. */
interface Buffer {
  /** Decodes bytes [start, end) as latin1: a byte string. */
  latin1Slice(start?: number, end?: number): string
  /** Writes a byte string; returns the bytes written. */
  latin1Write(text: string, offset?: number, length?: number): number
}
