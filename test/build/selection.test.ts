import { chmodSync, linkSync, mkdirSync, readFileSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { FileDigestCache } from '../../lib/build/digest-cache.js'
import { ignoreOf, ignorePatterns, readIgnore } from '../../lib/build/ignore.js'
import { digestSelection, select, type SelectOptions } from '../../lib/build/selection.js'
import { DirectoryTree, resolve } from '../../lib/build/tree.js'

/** Every path a selection takes, `from → to` where they differ. */
function taken(tree: DirectoryTree, pattern: string, options?: SelectOptions): string[] {
  return select(tree, pattern, options).flatMap(s =>
    s.entries.map(e => (e.path === e.to ? e.path : `${e.path} → ${e.to}`)),
  )
}

function context(t: Test): string {
  const dir = t.testdir({
    'a.txt': 'a',
    'b.txt': 'b',
    'c.md': 'c',
    '[odd].txt': 'odd',
    sub: { 'x.txt': 'x', deep: { 'y.txt': 'y', 'z.md': 'z' }, empty: {} },
    node_modules: { big: { 'index.js': 'x' }, keep: { 'k.js': 'k' } },
  })
  symlinkSync('sub', join(dir, 'link'))
  symlinkSync('/etc/passwd', join(dir, 'out'))
  symlinkSync('../../../../etc', join(dir, 'up'))
  symlinkSync('loop', join(dir, 'loop'))
  return dir
}

function open(t: Test, dir: string): DirectoryTree {
  const tree = new DirectoryTree(dir)
  t.teardown(() => tree.close())
  return tree
}

t.test('files, directories and wildcards', async t => {
  const tree = open(t, context(t))
  t.strictSame(taken(tree, 'a.txt'), ['a.txt'])
  t.strictSame(taken(tree, '/sub/x.txt'), ['sub/x.txt → x.txt'])
  t.strictSame(taken(tree, './sub/../a.txt'), ['a.txt'])
  t.strictSame(taken(tree, '*.txt'), ['[odd].txt', 'a.txt', 'b.txt'])
  t.strictSame(taken(tree, '[ab].txt'), ['a.txt', 'b.txt'])
  t.strictSame(taken(tree, '[^a].txt'), ['b.txt'])
  t.strictSame(taken(tree, '[[]odd].txt'), ['[odd].txt'])
  t.strictSame(taken(tree, '\\[odd].t*'), ['[odd].txt'])
  t.strictSame(taken(tree, 's?b/*.txt'), ['sub/x.txt → x.txt'])
  t.strictSame(taken(tree, '**/y.txt'), ['sub/deep/y.txt → y.txt'])
  t.strictSame(taken(tree, 'nothing*'), [])
  t.strictSame(taken(tree, 'sub'), [
    'sub → ',
    'sub/deep → deep',
    'sub/deep/y.txt → deep/y.txt',
    'sub/deep/z.md → deep/z.md',
    'sub/empty → empty',
    'sub/x.txt → x.txt',
  ])
})

t.test('a named source that is not there fails, with its name', async t => {
  const tree = open(t, context(t))
  for (const pattern of ['nope', 'sub/nope', 'a.txt/x', 'loop'])
    t.throws(() => select(tree, pattern), { code: 'SOURCE', message: new RegExp(pattern) }, pattern)
})

t.test('a source that is a link is followed inside the tree, links below it are copied as links', async t => {
  const dir = context(t)
  mkdirSync(join(dir, 'etc'))
  writeFileSync(join(dir, 'etc/passwd'), 'inside')
  const tree = open(t, dir)
  t.strictSame(taken(tree, 'link/x.txt'), ['sub/x.txt → x.txt'])
  const out = select(tree, 'out')
  t.equal(out[0]?.entries[0]?.path, 'etc/passwd', 'an absolute target starts at the root of the tree')
  t.strictSame(taken(tree, 'up'), ['etc → ', 'etc/passwd → passwd'], 'going up stops at the root')
  const all = select(tree, '.')[0]!.entries.find(e => e.path === 'out')
  t.equal(all!.stat.mode & 0o170000, 0o120000)
})

t.test('the kernel refuses a directory that turned into a link after it was looked at', async t => {
  const tree = open(t, context(t))
  t.throws(() => tree.open('link/x.txt'), { code: 'ELOOP' })
  t.throws(() => tree.list('up'), { code: 'ELOOP' })
  t.equal(tree.stat('link/x.txt'), undefined)
})

t.test('--exclude and the ignore file; a ! below an excluded directory brings its parents', async t => {
  const tree = open(t, context(t))
  t.strictSame(taken(tree, 'sub', { exclude: ['**/*.md', 'x.txt'] }), [
    'sub → ',
    'sub/deep → deep',
    'sub/deep/y.txt → deep/y.txt',
    'sub/empty → empty',
  ])
  t.strictSame(
    taken(tree, '*', {
      exclude: ['*.txt', 'sub', 'node_modules', 'link', 'out', 'up', 'c.*'],
      ignore: ignoreOf(['loop', 'link', 'out', 'up']),
    }).filter(p => !p.endsWith(' → ') && !p.includes('/')),
    [],
  )
  const ignore = ignoreOf(['node_modules', '!node_modules/keep', '*.md', 'loop'])
  const all = taken(tree, '.', { ignore })
  t.ok(all.includes('node_modules/keep/k.js'))
  t.ok(all.includes('node_modules'))
  t.notOk(all.some(p => p.startsWith('node_modules/big')))
  t.notOk(all.includes('c.md'))
  t.ok(all.includes('sub/deep/z.md'), '*.md is the top only')
  t.throws(() => select(tree, 'c.md', { ignore }), { code: 'SOURCE', message: /excluded by the ignore file/ })
  t.throws(() => select(tree, 'node_modules/big', { ignore }), { code: 'SOURCE', message: /excluded/ })
})

t.test('an excluded directory is never read', async t => {
  const tree = open(t, context(t))
  const list = tree.list.bind(tree)
  const read: string[] = []
  tree.list = path => {
    read.push(path)
    return list(path)
  }
  select(tree, '.', { ignore: ignoreOf(['node_modules', '!sub/deep/y.txt']) })
  t.notOk(read.includes('node_modules'), read.join())
  read.length = 0
  select(tree, '.', { ignore: ignoreOf(['node_modules', '!node_modules/keep']) })
  t.ok(read.includes('node_modules'))
  t.notOk(read.includes('node_modules/big'), 'nothing below it can be taken in again')
  read.length = 0
  select(tree, '.', { ignore: ignoreOf(['*', '!**/*.txt']) })
  t.ok(read.includes('node_modules/big'), '** may match anywhere')
})

t.test('--parents keeps directories, from the pivot on', async t => {
  const tree = open(t, context(t))
  t.strictSame(taken(tree, 'sub/deep/*.txt', { parents: true }), ['sub/deep/y.txt'])
  t.strictSame(taken(tree, 'sub/./deep/*.txt', { parents: true }), ['sub/deep/y.txt → deep/y.txt'])
  t.strictSame(taken(tree, './sub/empty', { parents: true }), ['sub/empty'])
})

t.test('the digest covers names, types, modes and contents, and no times', async t => {
  const dir = t.testdir({ d: { a: '1', b: '2' } })
  const digest = (): string => {
    const tree = new DirectoryTree(dir)
    try {
      return digestSelection(tree, select(tree, 'd'), () => '')
    } finally {
      tree.close()
    }
  }
  const seen = new Map<string, string>([[digest(), 'first']])
  const changed = (what: string): void => {
    const now = digest()
    t.notOk(seen.has(now), what)
    seen.set(now, what)
  }
  utimesSync(join(dir, 'd/a'), 1, 1)
  utimesSync(join(dir, 'd'), 1, 1)
  t.ok(seen.has(digest()), 'times')
  writeFileSync(join(dir, 'd/a'), '2')
  changed('content')
  chmodSync(join(dir, 'd/a'), 0o600)
  changed('mode')
  writeFileSync(join(dir, 'd/c'), '')
  changed('a new name')
  symlinkSync('a', join(dir, 'd/l'))
  changed('a link')
  mkdirSync(join(dir, 'd/e'))
  changed('an empty directory')
  chmodSync(join(dir, 'd'), 0o700)
  changed('mode of the root')
})

t.test('unchanged files are not read again, changed ones are', async t => {
  const dir = t.testdir({ context: { a: 'one', b: 'two' } })
  const old = Date.now() / 1000 - 100
  const file = join(dir, 'cache/digests')
  let opened: string[] = []
  const digest = (): string => {
    const cache = new FileDigestCache(file)
    const tree = new DirectoryTree(join(dir, 'context'), cache)
    const open = tree.open.bind(tree)
    tree.open = path => {
      opened.push(path)
      return open(path)
    }
    const found = digestSelection(tree, select(tree, '.'), () => '')
    cache.save()
    tree.close()
    return found
  }
  // ctime cannot be set back: the clock is what is moved.
  const now = Date.now
  Date.now = () => now() + 10_000
  t.teardown(() => {
    Date.now = now
  })
  const first = digest()
  t.strictSame(opened, ['a', 'b'])
  opened = []
  t.equal(digest(), first)
  t.strictSame(opened, [], 'both known')
  writeFileSync(join(dir, 'context/a'), 'eno')
  utimesSync(join(dir, 'context/a'), old, old)
  t.not(digest(), first, 'same size, older mtime: ctime tells')
  t.strictSame(opened, ['a'])
  opened = []
  Date.now = now
  writeFileSync(join(dir, 'context/b'), 'owt')
  digest()
  digest()
  t.strictSame(opened, ['b', 'b'], 'a file of this very second is not believed')
  writeFileSync(file, readFileSync(file, 'utf8').replace(/[0-9a-f]{64}/, 'garbage'))
  opened = []
  digest()
  t.strictSame(opened, ['a', 'b'], 'a damaged line is no line')
})

t.test('resolve follows as a chroot would', async t => {
  const dir = t.testdir({ usr: { lib: { f: '' }, bin: {} } })
  symlinkSync('usr/lib', join(dir, 'lib'))
  symlinkSync('/usr/bin/../lib', join(dir, 'abs'))
  symlinkSync('../../../usr', join(dir, 'usr/bin/far'))
  linkSync(join(dir, 'usr/lib/f'), join(dir, 'usr/lib/g'))
  const tree = open(t, dir)
  t.equal(resolve(tree, '/lib/f').path, 'usr/lib/f')
  t.equal(resolve(tree, '/abs/f').path, 'usr/lib/f')
  t.equal(resolve(tree, '/usr/bin/far/lib/g').path, 'usr/lib/g')
  t.match(resolve(tree, '/lib/new/file'), { path: 'usr/lib', rest: 'new/file' })
  t.equal(resolve(tree, '/lib', true).path, 'lib')
})

t.test('ignore files: comments, blanks, and the one beside the Dockerfile first', async t => {
  const dir = t.testdir({
    '.dockerignore': '\uFEFF# c\n\n  *.md  \r\n!keep.md\n',
    'prod.Dockerfile': '',
    'prod.Dockerfile.dockerignore': 'only\n',
    bad: { '.dockerignore': 'a[b\n' },
    not: { '.dockerignore': '!\n' },
  })
  t.strictSame(ignorePatterns('# a\n b \n\n#c\n!d'), ['b', '!d'])
  const general = readIgnore(dir, join(dir, 'Dockerfile'))
  t.ok(general.ignores('x.md'))
  t.notOk(general.ignores('keep.md'))
  const own = readIgnore(dir, join(dir, 'prod.Dockerfile'))
  t.ok(own.ignores('only'))
  t.notOk(own.ignores('x.md'))
  t.ok(readIgnore(dir, undefined).ignores('x.md'))
  for (const name of ['bad', 'not']) t.throws(() => readIgnore(join(dir, name), undefined), { code: 'IGNORE' }, name)
  t.notOk(readIgnore(join(dir, 'none'), undefined).ignores('x'))
})
