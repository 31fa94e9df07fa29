import t, { type Test } from 'tap'
import type { Change } from '../../lib/diff/change.js'
import { compare } from '../../lib/diff/compare.js'
import { dockerLines } from '../../lib/diff/lines.js'
import { dir, file, gone, type Item, link, MemoryLayer } from './memory-layer.js'

const say = (c: Change): string => {
  const from = c.kind === 'renamed' ? ` from ${c.from}` : ''
  const aspects = 'aspects' in c && c.aspects.length > 0 ? ` ${c.aspects.join(',')}` : ''
  return `${c.kind} ${c.path}${from}${aspects}`
}

const base = (): Item =>
  dir({
    bin: dir({ sh: file('shell'), su: file('su', { mode: 0o104755 }) }),
    etc: dir({ passwd: file('root'), motd: file('hello'), alternatives: dir({ a: link('/x'), b: link('/y') }) }),
    usr: dir({ share: dir({ doc: dir({ one: file('1'), two: file('2') }) }) }),
  })

/** The changes that `upper` makes to `lowers`, in words; also: nothing stays open, and no rename mode loses a node. */
function changes(t: Test, upper: Item, lowers: Item[], options = {}): string[] {
  const below = lowers.map(l => new MemoryLayer(l))
  const layers = [new MemoryLayer(upper), ...below]
  const found = compare(below, layers, options)
  t.equal(
    layers.reduce((n, l) => n + l.held, 0),
    0,
    'every node looked up was released',
  )
  const paths = found.map(c => c.path)
  t.same(paths, [...paths].sort(), 'sorted by path')
  return found.map(say)
}

t.test('an upper against its lowers', async t => {
  t.test('added, modified and removed', async t => {
    const upper = dir({
      etc: dir({ passwd: file('root2'), motd: gone(), new: dir({ f: file('') }) }),
      bin: dir({ su: file('su', { mode: 0o100755 }) }),
    })
    t.same(changes(t, upper, [base()]), [
      'modified /bin/su mode',
      'removed /etc/motd',
      'added /etc/new',
      'added /etc/new/f',
      'modified /etc/passwd content',
    ])
  })

  t.test('each aspect is said by its name', async t => {
    const upper = dir({
      etc: dir({
        passwd: file('ROOT', { mtime: 5 }),
        motd: file('hello', { uid: 7, xattrs: { 'user.x': 'y', 'security.selinux': 'ignored' } }),
        alternatives: dir({ a: link('/z'), b: file('was a link') }, { mtimeNs: 1 }),
      }),
    })
    t.same(changes(t, upper, [base()]), [
      'modified /etc/alternatives time',
      'modified /etc/alternatives/a content',
      'modified /etc/alternatives/b type,mode',
      'modified /etc/motd owner,xattr',
      'modified /etc/passwd content,time',
    ])
    t.same(changes(t, dir({ etc: dir({}, { mtime: 9 }) }), [base()], { ignoreTimes: true }), [])
  })

  t.test('a file copied up unchanged is no change', async t => {
    t.same(changes(t, dir({ etc: dir({ motd: file('hello') }) }), [base()]), [])
  })

  t.test('directory to symlink, file to directory', async t => {
    const upper = dir({ usr: dir({ share: link('elsewhere') }), bin: dir({ sh: dir({ inside: file('x') }) }) })
    t.same(changes(t, upper, [base()]), [
      'modified /bin/sh type,mode',
      'added /bin/sh/inside',
      'modified /usr/share type,content,mode'.replace('content,', ''),
    ])
  })

  t.test('an opaque directory replaces: what it lacks is removed, what it repeats is compared', async t => {
    const upper = dir({ etc: dir({ passwd: file('root'), other: file('o') }, { opaque: true }) })
    t.same(changes(t, upper, [base()]), [
      'replaced /etc',
      'removed /etc/alternatives',
      'removed /etc/motd',
      'added /etc/other',
    ])
  })

  t.test('a whiteout of nothing, and one below an opaque directory, change nothing', async t => {
    t.same(changes(t, dir({ nothing: gone(), bin: dir({ nobody: gone() }) }), [base()]), [])
  })

  t.test('a metacopy file has the lower data: only its metadata changed, and nothing is read', async t => {
    const below = new MemoryLayer(base())
    const upper = new MemoryLayer(dir({ etc: dir({ passwd: { mode: 0o100600, size: 4, overlay: { metacopy: '' } } }) }))
    t.same(compare([below], [upper, below]).map(say), ['modified /etc/passwd mode'])
    t.equal(below.opens + upper.opens, 0)
  })

  t.test('a renamed directory, told by its redirect', async t => {
    const upper = (): Item =>
      dir({
        usr: dir({
          share: gone(),
          moved: dir({ doc: dir({ one: gone(), three: file('3') }) }, { overlay: { redirect: '/usr/share' } }),
        }),
      })
    t.same(
      changes(t, upper(), [base()], { renames: true }),
      ['renamed /usr/moved from /usr/share', 'removed /usr/moved/doc/one', 'added /usr/moved/doc/three'],
      'as a rename',
    )
    t.same(
      changes(t, upper(), [base()]),
      [
        'added /usr/moved',
        'added /usr/moved/doc',
        'added /usr/moved/doc/three',
        'added /usr/moved/doc/two',
        'removed /usr/share',
      ],
      'expanded',
    )
  })

  t.test('a relative redirect, and a rename below a renamed directory', async t => {
    const upper = dir({
      usr: gone(),
      opt: dir({ share: gone(), s: dir({}, { overlay: { redirect: 'share' } }) }, { overlay: { redirect: 'usr' } }),
    })
    t.same(changes(t, upper, [base()], { renames: true }), ['renamed /opt from /usr', 'renamed /opt/s from /usr/share'])
  })

  t.test('path filters prune', async t => {
    const upper = dir({ etc: dir({ motd: file('x'), passwd: gone() }), bin: dir({ sh: gone() }) })
    t.same(changes(t, upper, [base()], { within: ['/etc/motd', '/bin/'] }), [
      'removed /bin/sh',
      'modified /etc/motd content',
    ])
  })

  t.test('names of any bytes pass through', async t => {
    const names = ['\xff\xfe', '\x1b[2J', '<b>', 'a\nb', '\xe2\x80\xae']
    const upper = dir(Object.fromEntries(names.map(n => [n, file('')])))
    t.same(changes(t, upper, [dir()]), names.map(n => `added /${n}`).sort())
  })
})

t.test('the cost is the change', async t => {
  const big = (): Item => {
    const top: Record<string, Item> = {}
    for (let i = 0; i < 100; i++) {
      const files: Record<string, Item> = {}
      for (let j = 0; j < 100; j++) files[`f${j}`] = file(`${i} ${j}`)
      top[`d${i}`] = dir(files)
    }
    return dir(top)
  }
  const below = new MemoryLayer(big())
  const above = new MemoryLayer(dir({ d5: dir({ f5: file('changed') }) }))
  t.same(compare([below], [above, below]).map(say), ['modified /d5/f5 content'])
  t.ok(below.lookups < 10, `${below.lookups} look-ups in the lower`)
  t.equal(below.lists, 0, 'the lower was never listed')
  const left = new MemoryLayer(dir({ d6: dir({ f1: file('left') }) }))
  t.same(compare([left, below], [above, below]).map(say), ['modified /d5/f5 content', 'modified /d6/f1 content'])
  t.equal(below.lists, 0, 'two images with a common base neither')
})

t.test('layers that know digests are compared without reading', async t => {
  const a = new MemoryLayer(base(), true)
  const other = base()
  other.children?.get('etc')?.children?.set('motd', file('HELLO'))
  const b = new MemoryLayer(other, true)
  t.same(compare([a], [b]).map(say), ['modified /etc/motd content'])
  t.equal(a.opens + b.opens, 0)
})

t.test('from and to nothing', async t => {
  const a = new MemoryLayer(dir({ x: dir({ y: file('') }) }))
  t.same(compare([], [a]).map(say), ['added /', 'added /x', 'added /x/y'])
  t.same(compare([a], []).map(say), ['removed /'])
  t.same(compare([a], [a]).map(say), [])
  t.same(compare([], []).map(say), [])
})

t.test("Docker's lines", async t => {
  const below = new MemoryLayer(base())
  const upper = new MemoryLayer(
    dir({
      etc: dir({ passwd: file('root2'), motd: gone() }),
      usr: dir({ share: dir({ doc: dir({ three: file('3') }) }) }),
      var: dir({ x: file('') }),
    }),
  )
  t.same(
    dockerLines(compare([below], [upper, below])).map(l => `${l.kind} ${l.path}`),
    ['C /etc', 'D /etc/motd', 'C /etc/passwd', 'C /usr/share/doc', 'A /usr/share/doc/three', 'A /var', 'A /var/x'],
  )
})
