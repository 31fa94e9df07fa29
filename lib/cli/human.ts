/**
 * Owns numbers for people, in Docker's forms: sizes `72.8MB` (powers of 1000), ages `3 hours ago`, and the reverse for options.
 * Invariant: reading is strict (`512m`, `1.5g`, `1GiB`); what is not a size is undefined, never 0.
 */

/** Bytes → `0B`, `1.21kB`, `72.8MB`: three significant digits, powers of 1000. */
export function size(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB', 'PB']
  let value = bytes
  let unit = 0
  while (Number(value.toPrecision(3)) >= 1000 && unit < units.length - 1) {
    value /= 1000
    unit++
  }
  return `${Number(value.toPrecision(3))}${units[unit]}`
}

/** `512`, `512b`, `64k`, `512m`, `1.5g`, `1GiB` → bytes, powers of 1024 as Docker's options have it; undefined if it is none. */
export function parseSize(text: string): number | undefined {
  const m = /^(\d+(?:\.\d+)?)\s*([bkmgtp]?)(?:i?b)?$/i.exec(text.trim())
  if (m === null) return undefined
  return Math.floor(Number(m[1]) * 1024 ** 'bkmgtp'.indexOf((m[2] || 'b').toLowerCase()))
}

/** Seconds → `Less than a second`, `About a minute`, `5 minutes`, `3 hours`, `2 weeks` (Docker's words). */
export function duration(seconds: number): string {
  const s = Math.floor(seconds)
  if (s < 1) return 'Less than a second'
  if (s === 1) return '1 second'
  if (s < 60) return `${s} seconds`
  const minutes = Math.floor(s / 60)
  if (minutes === 1) return 'About a minute'
  if (minutes < 60) return `${minutes} minutes`
  const hours = Math.floor(s / 3600 + 0.5)
  if (hours === 1) return 'About an hour'
  if (hours < 48) return `${hours} hours`
  if (hours < 24 * 7 * 2) return `${Math.floor(hours / 24)} days`
  if (hours < 24 * 30 * 2) return `${Math.floor(hours / 24 / 7)} weeks`
  if (hours < 24 * 365 * 2) return `${Math.floor(hours / 24 / 30)} months`
  return `${Math.floor(hours / 24 / 365)} years`
}

/** How long ago a moment (milliseconds since the epoch) was: `3 hours ago`. */
export function ago(milliseconds: number, now: number = Date.now()): string {
  return `${duration(Math.max(0, now - milliseconds) / 1000)} ago`
}
