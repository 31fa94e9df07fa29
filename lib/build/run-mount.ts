/**
 * Owns `RUN --mount=…`: the comma-separated form of the flag and the mounts it means.
 * Format: Dockerfile reference, "RUN --mount"; a field may be in double quotes (CSV).
 * Invariant: a mount that this file returns has its type's defaults filled in, and no field the type does not know.
 */
import { BuildError } from './error.js'
import { parseBoolean, parseMode, parseSize } from './quantity.js'

/** The flag as written, split at its commas. */
export interface MountFlag {
  readonly text: string
  readonly fields: readonly (readonly [key: string, value: string | undefined])[]
}

export type RunMount =
  | {
      readonly type: 'bind'
      readonly target: string
      /** Stage, image or named context; undefined: the build context. */
      readonly from: string | undefined
      readonly source: string
      /** Writes are allowed, and thrown away. */
      readonly writable: boolean
    }
  | {
      readonly type: 'cache'
      readonly target: string
      readonly id: string
      readonly sharing: 'shared' | 'private' | 'locked'
      readonly readonly: boolean
      readonly from: string | undefined
      readonly source: string
      readonly mode: number
      readonly uid: number
      readonly gid: number
    }
  | { readonly type: 'tmpfs'; readonly target: string; readonly size: number | undefined }
  | {
      readonly type: 'secret'
      readonly id: string
      /** undefined: only the environment variable. */
      readonly target: string | undefined
      readonly env: string | undefined
      readonly required: boolean
      readonly mode: number
      readonly uid: number
      readonly gid: number
    }
  | {
      readonly type: 'ssh'
      readonly id: string
      readonly target: string
      readonly required: boolean
      readonly mode: number
      readonly uid: number
      readonly gid: number
    }

const ALIASES: Readonly<Record<string, string>> = {
  src: 'source',
  dst: 'target',
  destination: 'target',
  ro: 'readonly',
  rw: 'readwrite',
}
const KNOWN: Readonly<Record<RunMount['type'], readonly string[]>> = {
  bind: ['target', 'source', 'from', 'readonly', 'readwrite'],
  cache: ['id', 'target', 'readonly', 'readwrite', 'sharing', 'from', 'source', 'mode', 'uid', 'gid'],
  tmpfs: ['target', 'size'],
  secret: ['id', 'target', 'env', 'required', 'mode', 'uid', 'gid'],
  ssh: ['id', 'target', 'required', 'mode', 'uid', 'gid'],
}
const ALONE = new Set(['readonly', 'readwrite', 'required'])

/** Splits the value of one `--mount`. Throws BuildError MOUNT. */
export function splitMount(text: string): MountFlag {
  const fields: [string, string | undefined][] = []
  for (const field of splitCsv(text)) {
    const equals = field.indexOf('=')
    const key = (equals < 0 ? field : field.slice(0, equals)).trim().toLowerCase()
    const value = equals < 0 ? undefined : field.slice(equals + 1)
    if (key === '') throw bad(text, 'a field is empty')
    if (value === undefined && !ALONE.has(ALIASES[key] ?? key)) throw bad(text, `"${field}" must be a key=value pair`)
    fields.push([ALIASES[key] ?? key, value])
  }
  return { text, fields }
}

/** The mount a flag means, every value passed through `expand`. Throws BuildError MOUNT and those of quantity.ts. */
export function readMount(flag: MountFlag, expand: (value: string) => string): RunMount {
  const values = new Map<string, string | undefined>()
  for (const [key, value] of flag.fields) values.set(key, value === undefined ? undefined : expand(value))
  const type = (values.get('type') ?? 'bind').toLowerCase()
  values.delete('type')
  if (!Object.hasOwn(KNOWN, type)) throw bad(flag.text, `there is no mount type "${type}"`)
  const known = KNOWN[type as RunMount['type']]
  for (const key of values.keys())
    if (!known.includes(key)) throw bad(flag.text, `a ${type} mount has no field "${key}"`)

  const on = (key: string): boolean => values.has(key) && parseBoolean(`mount ${key}`, values.get(key) ?? 'true')
  const id = (key: string): number => {
    const value = values.get(key) ?? '0'
    if (!/^\d+$/.test(value) || Number(value) > 0xfffffffe)
      throw bad(flag.text, `${key} must be a number, not "${value}"`)
    return Number(value)
  }
  const mode = (preset: number): number => (values.has('mode') ? parseMode('mode', values.get('mode') ?? '') : preset)
  const target = values.get('target')
  if (on('readonly') && on('readwrite')) throw bad(flag.text, 'it cannot be readonly and readwrite')

  switch (type as RunMount['type']) {
    case 'bind':
      return {
        type: 'bind',
        target: need(flag, target),
        from: values.get('from'),
        source: values.get('source') ?? '/',
        writable: on('readwrite') || (values.has('readonly') && !on('readonly')),
      }
    case 'cache': {
      const sharing = values.get('sharing') ?? 'shared'
      if (sharing !== 'shared' && sharing !== 'private' && sharing !== 'locked')
        throw bad(flag.text, `sharing is shared, private or locked, not "${sharing}"`)
      const where = need(flag, target)
      return {
        type: 'cache',
        target: where,
        id: values.get('id') ?? where,
        sharing,
        readonly: on('readonly'),
        from: values.get('from'),
        source: values.get('source') ?? '/',
        mode: mode(0o755),
        uid: id('uid'),
        gid: id('gid'),
      }
    }
    case 'tmpfs':
      return {
        type: 'tmpfs',
        target: need(flag, target),
        size: values.has('size') ? parseSize(values.get('size') ?? '') : undefined,
      }
    case 'secret': {
      const env = values.get('env')
      const name = values.get('id') ?? target?.split('/').at(-1) ?? env
      if (!name) throw bad(flag.text, 'a secret needs an id, a target or an env')
      return {
        type: 'secret',
        id: name,
        target: target ?? (env === undefined ? `/run/secrets/${name}` : undefined),
        env,
        required: on('required'),
        mode: mode(0o400),
        uid: id('uid'),
        gid: id('gid'),
      }
    }
    case 'ssh':
      return {
        type: 'ssh',
        id: values.get('id') ?? 'default',
        target: target ?? '/run/buildkit/ssh_agent.0',
        required: on('required'),
        mode: mode(0o600),
        uid: id('uid'),
        gid: id('gid'),
      }
  }
}

function need(flag: MountFlag, target: string | undefined): string {
  if (!target) throw bad(flag.text, 'a target is required')
  return target
}

function bad(text: string, why: string): BuildError {
  return new BuildError('MOUNT', `invalid mount "${text}": ${why}`)
}

/** One CSV record: commas split, `"…"` around a field protects them, `""` inside is one quote. */
function splitCsv(text: string): string[] {
  const out: string[] = []
  let field = ''
  let quoted = false
  for (let i = 0; i < text.length; i++) {
    const ch = text[i]!
    if (quoted && ch === '"' && text[i + 1] === '"') field += text[++i]!
    else if (ch === '"') quoted = !quoted
    else if (ch === ',' && !quoted) {
      out.push(field)
      field = ''
    } else field += ch
  }
  if (quoted) throw bad(text, 'a quote is not closed')
  out.push(field)
  return out
}
