/** `lamina find`: paths of an image by name, type, size and mode, without mounting anything. */
import { defineCommand, UsageError } from '../command.js'

const TYPES: Readonly<Record<string, number>> = {
  f: 0o100000,
  d: 0o040000,
  l: 0o120000,
  c: 0o020000,
  b: 0o060000,
  p: 0o010000,
  s: 0o140000,
}

export const command = defineCommand({
  command: 'find <where>',
  describe: 'Find paths in an image or container: IMAGE[:PATH]',
  builder: {
    name: { type: 'string', describe: 'Last name matches this pattern (* ? [a-z])' },
    iname: { type: 'string', describe: 'As --name, upper and lower case alike' },
    'path-pattern': { type: 'string', describe: 'Whole path matches this pattern; * matches / too' },
    type: { type: 'string', describe: 'f, d, l, c, b, p or s; several with commas' },
    size: { type: 'string', describe: '+10m: larger, -10m: smaller, 10m: exactly' },
    perm: { type: 'string', describe: '4755: exactly, -4000: all of these bits, /6000: any of them' },
    user: { type: 'string', describe: 'Owner: a number, or a name in the image' },
    maxdepth: { type: 'number', describe: 'Not deeper than this below PATH' },
    print0: { alias: '0', type: 'boolean', describe: 'Raw names, each ended by a NUL byte' },
    long: { alias: 'l', type: 'boolean', describe: 'Mode, owner and size before the path' },
  },
  examples: [
    ['find debian:12 --perm /6000 --type f', 'programs that run as another user'],
    ['find mine:1:/var --size +1m', 'what is large'],
  ],
  looksInto: args => [args.where],
  async handler(args, { root, runRoot, stdout }) {
    const [
      { Operands, splitPath },
      { MergedTree },
      { findEntry, namesIn },
      { printableBytes },
      { bytesOf },
      { parseSize },
      { modeText },
    ] = await Promise.all([
      import('../operand.js'),
      import('../../diff/merged.js'),
      import('../inside.js'),
      import('../printable.js'),
      import('../../bytes.js'),
      import('../human.js'),
      import('../../diff/explorer/view.js'),
    ])
    const types = args.type?.split(',').map(t => TYPES[t])
    if (types?.includes(undefined) === true) throw new UsageError(`--type ${args.type}: f, d, l, c, b, p or s`)
    const name = args.name === undefined ? undefined : glob(bytesOf(args.name), '')
    const iname = args.iname === undefined ? undefined : glob(bytesOf(args.iname), 'i')
    const whole = args.pathPattern === undefined ? undefined : glob(bytesOf(args.pathPattern), '')
    const size = args.size === undefined ? undefined : sizeTest(args.size, parseSize)
    const perm = args.perm === undefined ? undefined : permTest(args.perm)
    const operands = new Operands(root, runRoot)
    try {
      const target = splitPath(args.where) ?? { name: args.where, path: '/' }
      const { layers } = await operands.open(target.name)
      const tree = new MergedTree(layers)
      const uid = args.user === undefined ? undefined : userOf(args.user, () => namesIn(tree, '/etc/passwd'))
      const top = findEntry(tree, target.path, args.where)
      const depthOf = (path: string): number => (path === '/' ? 0 : path.split('/').length - 1)
      const start = depthOf(top.path)
      let out = ''
      tree.walk(top, entry => {
        const a = entry.attributes
        const last = entry.path.slice(entry.path.lastIndexOf('/') + 1)
        const hit =
          (types === undefined || types.includes(a.mode & 0o170000)) &&
          (name === undefined || name.test(last)) &&
          (iname === undefined || iname.test(last)) &&
          (whole === undefined || whole.test(entry.path)) &&
          (size === undefined || ((a.mode & 0o170000) === 0o100000 && size(a.size))) &&
          (perm === undefined || perm(a.mode & 0o7777)) &&
          (uid === undefined || a.uid === uid)
        if (hit) {
          const owner = `${a.uid}:${a.gid}`.padEnd(9)
          if (args.print0 === true) stdout.write(Buffer.from(`${entry.path}\0`, 'latin1'))
          else if (args.long === true)
            out += `${modeText(a.mode)} ${owner} ${String(a.size).padStart(10)} ${printableBytes(entry.path)}\n`
          else out += `${printableBytes(entry.path)}\n`
          if (out.length > 1 << 16) {
            stdout.write(out)
            out = ''
          }
        }
        return args.maxdepth === undefined || depthOf(entry.path) - start < args.maxdepth
      })
      if (out !== '') stdout.write(out)
      tree.release(top)
    } finally {
      operands.close()
    }
  },
})

/** A shell pattern over bytes: `*` anything, `?` one byte, `[…]` a set, `\` takes the next as it is. */
function glob(pattern: string, flags: string): RegExp {
  let source = ''
  for (let i = 0; i < pattern.length; i++) {
    const char = pattern.charAt(i)
    const end = char === '[' ? pattern.indexOf(']', i + 2) : -1
    if (char === '*') source += '.*'
    else if (char === '?') source += '.'
    else if (end > 0) {
      const set = pattern
        .slice(i + 1, end)
        .replace(/[\\\]^]/g, '\\$&')
        .replace(/^(!|\\\^)/, '^')
      source += `[${set}]`
      i = end
    } else
      source += (char === '\\' && i + 1 < pattern.length ? pattern.charAt(++i) : char).replace(
        /[\\^$.*+?()[\]{}|/]/g,
        '\\$&',
      )
  }
  try {
    return new RegExp(`^${source}$`, `s${flags}`)
  } catch {
    throw new UsageError(`${pattern}: no pattern`)
  }
}

function sizeTest(text: string, parse: (text: string) => number | undefined): (size: number) => boolean {
  const sign = /^[+-]/.exec(text)?.[0]
  const bytes = parse(sign === undefined ? text : text.slice(1))
  if (bytes === undefined) throw new UsageError(`--size ${text}: no size`)
  if (sign === '+') return size => size > bytes
  return sign === '-' ? size => size < bytes : size => size === bytes
}

function permTest(text: string): (mode: number) => boolean {
  const m = /^([-/]?)([0-7]{1,4})$/.exec(text)
  if (m === null) throw new UsageError(`--perm ${text}: an octal mode, with - or / before it`)
  const bits = parseInt(m[2] as string, 8)
  if (m[1] === '-') return mode => (mode & bits) === bits
  return m[1] === '/' ? mode => bits === 0 || (mode & bits) !== 0 : mode => mode === bits
}

function userOf(text: string, names: () => Map<number, string>): number {
  if (/^\d+$/.test(text)) return Number(text)
  for (const [uid, name] of names()) if (name === text) return uid
  throw new UsageError(`--user ${text}: the image has no such user`)
}
