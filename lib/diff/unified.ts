/**
 * Owns `diff --content`: changes → unified diff of text files, in git's form, so `patch` and `git apply` read it.
 * Formats: output is a byte string (file data goes through untouched); names that need it are C-quoted as git quotes them;
 * modes are git's (100644, 100755, 120000). A file with a NUL byte, or larger than the limit, is only said to differ.
 * Invariant: nothing is loaded or read for changes that are not of content.
 */
import { type Attributes, type Change, isRegular, isSymlink } from './change.js'
import { readContent } from './content.js'
import type { MergedTree } from './merged.js'

/** Above this a diff is nobody's reading, and quadratic in the worst case. */
const LIMIT = 4 * 1024 * 1024

/** Calls `write` with the patch of each changed file, in order. Removed directories: each file in them. Throws FsError. */
export async function unifiedDiff(
  changes: readonly Change[],
  before: MergedTree,
  after: MergedTree,
  write: (bytes: string) => void,
): Promise<void> {
  const { createTwoFilesPatch } = await import('diff')
  /** `same`: the data is known not to differ. */
  const patch = (
    path: string,
    from: string,
    a: Attributes | undefined,
    b: Attributes | undefined,
    same = false,
  ): void => {
    if (a !== undefined && b !== undefined && isSymlink(a) !== isSymlink(b)) {
      // A file that became a symlink, or the reverse, is for git one removed and one added.
      patch(from, from, a, undefined)
      patch(path, path, undefined, b)
      return
    }
    const old = a && dataOf(before, from, a)
    const now = b && dataOf(after, path, b)
    if (old === undefined && now === undefined) return
    const lines = [`diff --git ${quoted(`a${from}`)} ${quoted(`b${path}`)}`]
    if (a === undefined || old === undefined) lines.push(`new file mode ${gitMode(b as Attributes)}`)
    else if (b === undefined || now === undefined) lines.push(`deleted file mode ${gitMode(a)}`)
    else if (gitMode(a) !== gitMode(b)) lines.push(`old mode ${gitMode(a)}`, `new mode ${gitMode(b)}`)
    const left = old === undefined ? '/dev/null' : quoted(`a${from}`)
    const right = now === undefined ? '/dev/null' : quoted(`b${path}`)
    if (!same && (old === null || now === null)) lines.push(`Binary files ${left} and ${right} differ`)
    else if (!same && (old ?? '') !== (now ?? '')) {
      const text = createTwoFilesPatch('a', 'b', old ?? '', now ?? '', undefined, undefined, { timeout: 5000 })
      const hunks =
        text === undefined ? wholly(old ?? '', now ?? '') : text.slice(text.indexOf('@@')).replace(/\n$/, '')
      lines.push(`--- ${left}`, `+++ ${right}`, hunks)
    }
    if (lines.length > 1) write(`${lines.join('\n')}\n`)
  }
  for (const change of changes) {
    if (change.kind === 'added') patch(change.path, change.path, undefined, change.after)
    else if (change.kind === 'removed') {
      const entry = before.resolve(change.path)
      if (entry === undefined) continue
      try {
        before.walk(entry, e => patch(e.path, e.path, e.attributes, undefined))
      } finally {
        before.release(entry)
      }
    } else {
      const from = change.kind === 'renamed' ? change.from : change.path
      const same = !change.aspects.includes('content') && !change.aspects.includes('type')
      patch(change.path, from, change.before, change.after, same)
    }
  }
}

/** Text of a regular file or target of a symlink; null for binary or large data; undefined for other objects. */
function dataOf(tree: MergedTree, path: string, a: Attributes): string | null | undefined {
  if (!isRegular(a) && !isSymlink(a)) return undefined
  if (a.size > LIMIT) return null
  const entry = tree.resolve(path)
  if (entry === undefined) return undefined
  try {
    if (isSymlink(a)) return tree.readlink(entry)
    const data = readContent(tree, entry)
    return data.includes(0) ? null : data.latin1Slice()
  } finally {
    tree.release(entry)
  }
}

/** The hunk when finding the shortest difference takes too long: all out, all in. */
function wholly(old: string, now: string): string {
  const linesOf = (text: string): string[] =>
    text.split('\n').slice(0, text.endsWith('\n') || text === '' ? -1 : undefined)
  const side = (sign: string, text: string): string[] => {
    const marked = linesOf(text).map(l => sign + l)
    return text === '' || text.endsWith('\n') ? marked : [...marked, '\\ No newline at end of file']
  }
  const range = (text: string): string => (text === '' ? '0,0' : `1,${linesOf(text).length}`)
  return [`@@ -${range(old)} +${range(now)} @@`, ...side('-', old), ...side('+', now)].join('\n')
}

function gitMode(a: Attributes): string {
  if (isSymlink(a)) return '120000'
  return (a.mode & 0o111) !== 0 ? '100755' : '100644'
}

/** git's quoting: double quotes and C escapes when a byte is a control, a quote, a backslash or not ASCII. */
function quoted(path: string): string {
  let text = ''
  let plain = true
  for (const char of path) {
    const code = char.charCodeAt(0)
    const named = '\x07a\bb\tt\nn\vv\ff\rr""\\\\'.indexOf(char)
    if (named >= 0 && named % 2 === 0) text += `\\${'\x07a\bb\tt\nn\vv\ff\rr""\\\\'.charAt(named + 1)}`
    else if (code < 32 || code > 126) text += `\\${code.toString(8).padStart(3, '0')}`
    else {
      text += char
      continue
    }
    plain = false
  }
  return plain ? path : `"${text}"`
}
