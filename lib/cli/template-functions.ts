/**
 * Owns the functions of `--format` templates: those of Go's text/template and docker's that make sense on plain data.
 * Invariant: pure.
 */

/** Whether Go would call it true: not false, 0, "", nil, empty. */
export function truthy(value: unknown): boolean {
  if (Array.isArray(value)) return value.length > 0
  if (typeof value === 'object' && value !== null) return Object.keys(value).length > 0
  return Boolean(value)
}

/** How a value prints: Go's %v (`[a b]`, `map[k:v]`, `<no value>`). */
export function text(value: unknown): string {
  if (value === undefined || value === null) return '<no value>'
  if (Array.isArray(value)) return `[${value.map(text).join(' ')}]`
  if (typeof value === 'object') {
    const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1))
    return `map[${entries.map(([key, item]) => `${key}:${text(item)}`).join(' ')}]`
  }
  return String(value as string | number | boolean | bigint)
}

function index(value: unknown, ...keys: unknown[]): unknown {
  let found = value
  for (const key of keys) {
    if (found === null || typeof found !== 'object') return undefined
    found = (found as Record<string, unknown>)[String(key)]
  }
  return found
}

function length(value: unknown): number {
  if (typeof value === 'string' || Array.isArray(value)) return value.length
  return typeof value === 'object' && value !== null ? Object.keys(value).length : 0
}

function printf(format: unknown, ...args: unknown[]): string {
  let next = 0
  return text(format).replace(
    /%(-?)(\d*)(?:\.(\d+))?([%svdqxtf])/g,
    (_, left: string, width: string, digits: string, verb: string) => {
      if (verb === '%') return '%'
      const value = args[next++]
      const shown =
        verb === 'q'
          ? JSON.stringify(text(value))
          : verb === 'x'
            ? Number(value).toString(16)
            : verb === 'f'
              ? Number(value).toFixed(digits === '' ? 6 : Number(digits))
              : text(value)
      return left === '' ? shown.padStart(Number(width)) : shown.padEnd(Number(width))
    },
  )
}

function compare(a: unknown, b: unknown): number {
  if (typeof a === 'number' && typeof b === 'number') return a - b
  return text(a) < text(b) ? -1 : text(a) > text(b) ? 1 : 0
}

export const functions: ReadonlyMap<string, (...args: never[]) => unknown> = new Map<
  string,
  (...args: never[]) => unknown
>([
  ['json', (value: unknown) => JSON.stringify(value ?? null)],
  ['join', (list: unknown, by: unknown) => (Array.isArray(list) ? list.map(text).join(text(by)) : text(list))],
  ['split', (value: unknown, by: unknown) => text(value).split(text(by))],
  ['upper', (value: unknown) => text(value).toUpperCase()],
  ['lower', (value: unknown) => text(value).toLowerCase()],
  ['title', (value: unknown) => text(value).replace(/\b\w/g, letter => letter.toUpperCase())],
  ['pad', (value: unknown, before: number, after: number) => ' '.repeat(before) + text(value) + ' '.repeat(after)],
  ['truncate', (value: unknown, count: number) => text(value).slice(0, count)],
  ['len', length],
  ['index', index],
  ['print', (...values: unknown[]) => values.map(text).join(' ')],
  ['println', (...values: unknown[]) => `${values.map(text).join(' ')}\n`],
  ['printf', printf],
  ['not', (value: unknown) => !truthy(value)],
  ['and', () => undefined],
  ['or', () => undefined],
  ['eq', (a: unknown, ...others: unknown[]) => others.some(b => compare(a, b) === 0)],
  ['ne', (a: unknown, b: unknown) => compare(a, b) !== 0],
  ['lt', (a: unknown, b: unknown) => compare(a, b) < 0],
  ['le', (a: unknown, b: unknown) => compare(a, b) <= 0],
  ['gt', (a: unknown, b: unknown) => compare(a, b) > 0],
  ['ge', (a: unknown, b: unknown) => compare(a, b) >= 0],
])
