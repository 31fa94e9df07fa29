/**
 * Owns the small value formats of flags: durations (`1m30s`), sizes (`64m`), file modes (`0644`), booleans, ports.
 * Invariant: a value is either understood whole or refused with a BuildError of its own code.
 */
import { BuildError } from './error.js'

const UNITS: Readonly<Record<string, number>> = {
  ns: 1,
  us: 1e3,
  µs: 1e3,
  ms: 1e6,
  s: 1e9,
  m: 60e9,
  h: 3600e9,
}

/** `1h30m`, `1.5s`, `0` → nanoseconds, as Go's time.ParseDuration reads them. Negative ones are refused. */
export function parseDuration(text: string): number {
  if (text === '0') return 0
  const parts = [...text.matchAll(/(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)/gy)]
  if (text === '' || parts.map(p => p[0]).join('') !== text)
    throw new BuildError('DURATION', `invalid duration "${text}": write it as 30s, 1m30s or 500ms`)
  return Math.round(parts.reduce((sum, p) => sum + Number(p[1]) * UNITS[p[2]!]!, 0))
}

/** `512`, `64k`, `1.5g`, `10MB` → bytes; factors of 1024 as Docker's. */
export function parseSize(text: string): number {
  const match = /^(\d+(?:\.\d+)?)\s*([kmgtp]?)i?b?$/i.exec(text)
  if (!match) throw new BuildError('FLAG_VALUE', `invalid size "${text}": write it as 64m or 1g`)
  return Math.floor(Number(match[1]) * 1024 ** ('kmgtp'.indexOf(match[2]!.toLowerCase() || '-') + 1))
}

/** `true`, `1`, `t`, `false`, `0`, `f` in any case (Go's strconv.ParseBool). */
export function parseBoolean(flag: string, text: string): boolean {
  if (/^(1|t|true)$/i.test(text)) return true
  if (/^(0|f|false)$/i.test(text)) return false
  throw new BuildError('FLAG_VALUE', `--${flag} expects true or false, not "${text}"`)
}

/** An octal file mode 0..07777. */
export function parseMode(what: string, text: string): number {
  if (!/^[0-7]{1,5}$/.test(text) || parseInt(text, 8) > 0o7777)
    throw new BuildError('FLAG_VALUE', `invalid ${what} "${text}": it must be octal, 0 to 7777`)
  return parseInt(text, 8)
}

/**
 * A change of mode: octal, or symbolic as chmod(1) has it (`u=rwX,go+r`). Returns the function old mode → new mode.
 */
export function parseChmod(text: string): (mode: number, isDirectory: boolean) => number {
  if (/^[0-7]+$/.test(text)) {
    const mode = parseMode('--chmod', text)
    return () => mode
  }
  const clauses = text.split(',').map(clause => /^([ugoa]*)([-+=])([rwxXst]*|[ugo])$/.exec(clause))
  if (clauses.some(c => !c))
    throw new BuildError('FLAG_VALUE', `invalid --chmod "${text}": write octal (0755) or symbolic (u=rwX,go=rX)`)
  return (mode, isDirectory) => {
    for (const clause of clauses) {
      const [, who, operator, what] = clause!
      mode = applyClause(mode, isDirectory, who === '' ? 'a' : who!, operator!, what!)
    }
    return mode
  }
}

function applyClause(mode: number, isDirectory: boolean, who: string, operator: string, what: string): number {
  const everyone = who.includes('a')
  const executable = isDirectory || (mode & 0o111) !== 0
  let bits = 0
  let cleared = 0
  for (const [letter, shift] of [
    ['u', 6],
    ['g', 3],
    ['o', 0],
  ] as const) {
    if (!everyone && !who.includes(letter)) continue
    cleared |= 7 << shift
    if (/^[ugo]$/.test(what)) bits |= ((mode >> { u: 6, g: 3, o: 0 }[what as 'u' | 'g' | 'o']) & 7) << shift
    else {
      if (what.includes('r')) bits |= 4 << shift
      if (what.includes('w')) bits |= 2 << shift
      if (what.includes('x') || (what.includes('X') && executable)) bits |= 1 << shift
      if (what.includes('s')) bits |= letter === 'u' ? 0o4000 : letter === 'g' ? 0o2000 : 0
    }
  }
  if (what.includes('t')) bits |= 0o1000
  if (operator === '+') return mode | bits
  if (operator === '-') return mode & ~bits
  return (mode & ~cleared) | bits
}

/**
 * `80`, `80/udp`, `8000-8003/tcp`, and Docker's `[ip:[host]:]container` whose left parts EXPOSE ignores → `80/tcp` …
 */
export function parsePorts(text: string): string[] {
  const bad = (why: string): never => {
    throw new BuildError('PORT', `invalid port "${text}": ${why}`)
  }
  const match = /^(?:.*:)?(\d+)(?:-(\d+))?(?:\/(\w+))?$/.exec(text)
  if (!match) return bad('write it as 80, 80/udp or 8000-8003')
  const protocol = (match[3] ?? 'tcp').toLowerCase()
  if (!['tcp', 'udp', 'sctp'].includes(protocol)) bad(`the protocol is tcp, udp or sctp, not ${protocol}`)
  const first = Number(match[1])
  const last = match[2] === undefined ? first : Number(match[2])
  if (last < first || last > 65535) bad('ports go from 0 to 65535, a range upwards')
  return Array.from({ length: last - first + 1 }, (_, i) => `${first + i}/${protocol}`)
}
