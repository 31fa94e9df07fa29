import t from 'tap'
import { createHash } from 'node:crypto'
import { LayerIngest, type ObjectWriter } from '../../lib/layer/tar-ingest.js'
import { TarError } from '../../lib/layer/tar-error.js'
import { readTar } from '../../lib/layer/tar-read.js'
import type { TreeInode } from '../../lib/layer/tree.js'
import { gnuLong, header, paxRecords, pieces, type RawEntry, rawTar } from './raw-tar.js'

/** Keeps contents in memory, and fails a test that writes outside begin and end. */
class Memory implements ObjectWriter {
  readonly contents = new Map<string, Buffer>()
  #now: Buffer | undefined
  begin(size: number): void {
    this.#now = Buffer.alloc(size)
  }
  write(chunk: Buffer, offset: number): void {
    if (this.#now === undefined) throw new Error('write outside a file')
    chunk.copy(this.#now, offset)
  }
  end(): string {
    const now = this.#now ?? Buffer.alloc(0)
    const hex = createHash('sha256').update(now).digest('hex')
    this.contents.set(hex, now)
    this.#now = undefined
    return hex
  }
}

async function ingest(
  entries: readonly (RawEntry | Buffer)[] | Buffer,
  limits?: { entries: number; bytes: number },
): Promise<{
  root: TreeInode
  at: (path: string) => TreeInode | undefined
  text: (path: string) => string
  ingest: LayerIngest
}> {
  const memory = new Memory()
  const layer = new LayerIngest(memory, limits)
  await readTar(pieces(Buffer.isBuffer(entries) ? entries : rawTar(entries)), layer)
  const root = layer.finish()
  const at = (path: string): TreeInode | undefined => {
    let node: TreeInode | undefined = root
    for (const part of path.split('/')) if (part !== '') node = node?.children?.get(part)
    return node
  }
  const text = (path: string): string => memory.contents.get(at(path)?.object ?? '')?.toString('latin1') ?? ''
  return { root, at, text, ingest: layer }
}

t.test('what a tar says of an entry arrives whole', async t => {
  const capability = Buffer.from([1, 0, 0, 2, 0xff, 0x80, 0, 10, 61])
  const { at, text } = await ingest([
    { name: './', type: '5', mode: 0o1777, mtime: 5 },
    { name: 'dir/', type: '5', mode: 0o2750, uid: 7, gid: 8 },
    { name: 'dir/file', data: 'content', mode: 0o4755 },
    { name: 'dir/exact', data: Buffer.alloc(512, 'x') },
    { name: 'dir/empty' },
    { name: 'dir/hard', type: '1', link: 'dir/file' },
    { name: 'link', type: '2', link: '/absolute/target' },
    { name: 'null', type: '3', major: 1, minor: 3, mode: 0o666 },
    { name: 'disk', type: '4', major: 259, minor: 7 },
    { name: 'pipe', type: '6' },
    {
      name: 'x',
      data: 'a',
      pax: { mtime: '1700000001.123456789', 'SCHILY.xattr.security.capability': capability, uid: '70000' },
    },
    { name: 'y', pax: { mtime: '-1.25', path: 'n\xff\xfeme with \n newline', gid: '4294967294' } },
    { name: 'z', data: 'b', pax: { 'LIBARCHIVE.xattr.user.a%20b': Buffer.from([0, 255]).toString('base64') } },
  ])
  t.equal(at('')?.mode, 0o041777)
  t.equal(at('')?.implicit, false)
  t.equal(at('dir')?.mode, 0o042750)
  t.same([at('dir')?.uid, at('dir')?.gid], [7, 8])
  t.equal(text('dir/file'), 'content')
  t.equal(at('dir/file')?.mode, 0o104755)
  t.equal(at('dir/exact')?.size, 512)
  t.equal(at('dir/empty')?.object, '')
  t.equal(at('dir/hard'), at('dir/file'), 'a hard link is the same inode')
  t.equal(at('link')?.target, '/absolute/target')
  t.equal(at('null')?.rdev, 0x103)
  t.equal(at('disk')?.rdev, (259 << 8) | 7)
  t.equal(at('pipe')?.mode, 0o010644)
  t.same([at('x')?.mtime, at('x')?.mtimeNs, at('x')?.uid], [1700000001, 123456789, 70000])
  t.same(at('x')?.xattrs?.get('security.capability'), capability, 'binary values are kept')
  const odd = at('n\xff\xfeme with \n newline')
  t.same([odd?.mtime, odd?.mtimeNs, odd?.gid], [-2, 750000000, 4294967294])
  t.same(at('z')?.xattrs?.get('user.a b'), Buffer.from([0, 255]))
})

t.test('GNU long names and links', async t => {
  const long = `${'d'.repeat(200)}/${'f'.repeat(200)}`
  const { at, text } = await ingest([
    gnuLong('L', long),
    { name: long, data: 'deep' },
    gnuLong('K', `/${'t'.repeat(300)}`),
    { name: 'l', type: '2', link: 't' },
  ])
  t.equal(text(long), 'deep')
  t.equal(at('l')?.target, `/${'t'.repeat(300)}`)
})

t.test('sparse files of every form', async t => {
  const want = Buffer.alloc(20000)
  want.write('head', 0)
  want.write('tail', 16384)
  const stored = Buffer.concat([Buffer.from('head'.padEnd(512, '\0')), Buffer.from('tail'.padEnd(512, '\0'))])
  const number = (n: number): string => n.toString(8).padStart(11, '0') + '\0'
  const gnu: RawEntry = {
    name: 'gnu',
    type: 'S',
    data: stored,
    patch: h => {
      h.write('ustar  \0', 257, 'latin1')
      h.write(number(0) + number(512) + number(16384) + number(512), 386, 'latin1')
      h.write(number(20000), 483, 'latin1')
    },
  }
  // A fifth part has to go into an extension block, which the size field does not count.
  const parts = Array.from({ length: 6 }, (_, i) => [i * 2048, 512] as const)
  const extended = header({
    name: 'extended',
    type: 'S',
    size: 6 * 512,
    patch: h => {
      h.write('ustar  \0', 257, 'latin1')
      h.write(
        parts
          .slice(0, 4)
          .map(([o, l]) => number(o) + number(l))
          .join(''),
        386,
        'latin1',
      )
      h[482] = 1
      h.write(number(20000), 483, 'latin1')
    },
  })
  const extension = Buffer.alloc(512)
  extension.write(
    parts
      .slice(4)
      .map(([o, l]) => number(o) + number(l))
      .join(''),
    0,
    'latin1',
  )
  const data = Buffer.concat(parts.map((_, i) => Buffer.alloc(512, `${i}`)))
  const pax = (name: string, records: [string, string][], body: Buffer): Buffer => {
    const p = paxRecords(records)
    return Buffer.concat([
      header({ name: 'x', type: 'x', data: p }),
      p,
      Buffer.alloc((512 - (p.length % 512)) % 512),
      header({ name, data: body }),
      body,
    ])
  }
  const map = Buffer.alloc(512)
  map.write('2\n0\n512\n16384\n512\n')
  const { at, text } = await ingest([
    gnu,
    Buffer.concat([extended, extension, data]),
    pax(
      'zero',
      [
        ['GNU.sparse.size', '20000'],
        ['GNU.sparse.numblocks', '2'],
        ['GNU.sparse.offset', '0'],
        ['GNU.sparse.numbytes', '512'],
        ['GNU.sparse.offset', '16384'],
        ['GNU.sparse.numbytes', '512'],
      ],
      stored,
    ),
    pax(
      'GNUSparseFile.0/one',
      [
        ['GNU.sparse.size', '20000'],
        ['GNU.sparse.name', 'one'],
        ['GNU.sparse.map', '0,512,16384,512'],
      ],
      stored,
    ),
    pax(
      'GNUSparseFile.0/ten',
      [
        ['GNU.sparse.major', '1'],
        ['GNU.sparse.minor', '0'],
        ['GNU.sparse.name', 'ten'],
        ['GNU.sparse.realsize', '20000'],
      ],
      Buffer.concat([map, stored]),
    ),
    { name: 'after', data: 'framing is intact' },
  ])
  for (const name of ['gnu', 'zero', 'one', 'ten']) {
    t.equal(at(name)?.size, 20000, name)
    t.equal(text(name), want.toString('latin1'), name)
  }
  const expected = Buffer.alloc(20000)
  parts.forEach(([o], i) => expected.fill(`${i}`, o, o + 512))
  t.equal(text('extended'), expected.toString('latin1'))
  t.equal(text('after'), 'framing is intact')
})

t.test('whiteouts, opaque directories and what the tar leaves out', async t => {
  const { at } = await ingest([
    { name: 'a/.wh.gone' },
    { name: 'b/.wh..wh..opq' },
    { name: 'b/.wh.inside' },
    { name: 'b/new', data: '1' },
    { name: '.wh.dir' },
    { name: 'dir/', type: '5' },
    { name: 'file', data: 'x' },
    { name: '.wh.file' },
    { name: '.wh..wh.plnk' },
    { name: 'hard', type: '1', link: 'not/in/this/layer' },
  ])
  t.ok(at('a/gone')?.isWhiteout, 'a whiteout of what may not exist below')
  t.ok(at('a')?.implicit, 'a parent that nothing describes')
  t.ok(at('b')?.opaque)
  t.equal(at('b/inside'), undefined, 'an opaque directory needs no whiteouts')
  t.ok(at('b/new'))
  t.ok(at('dir')?.opaque, 'whiteout and directory of one name: what lies below is hidden')
  t.equal(at('dir')?.isWhiteout, false)
  t.ok(at('file')?.object, 'a whiteout speaks of lower layers only')
  t.equal(at('.wh..wh.plnk'), undefined)
  t.equal(at('hard')?.outerLink, '/not/in/this/layer')
})

t.test('of two entries with one name the later wins; directories merge', async t => {
  const { at, text } = await ingest([
    { name: 'f', data: 'first' },
    { name: 'f', data: 'second' },
    { name: 'd/', type: '5', mode: 0o700 },
    { name: 'd/kept', data: 'k' },
    { name: 'd', type: '5', mode: 0o755 },
    { name: 'e/x', data: 'x' },
    { name: 'e', type: '2', link: 'elsewhere' },
  ])
  t.equal(text('f'), 'second')
  t.equal(at('d')?.mode, 0o040755)
  t.equal(text('d/kept'), 'k')
  t.equal(at('e')?.target, 'elsewhere')
})

t.test('names are read below the root: leading slashes and dots change nothing', async t => {
  const { at, text } = await ingest([
    { name: '/abs/file', data: '1' },
    { name: './dot/./file', data: '2' },
    { name: 'tw//ice', data: '3' },
    { name: 'old/', type: '\0' },
  ])
  t.equal(text('abs/file'), '1')
  t.equal(text('dot/file'), '2')
  t.equal(text('tw/ice'), '3')
  t.ok(at('old')?.isDirectory, 'a file with a trailing slash is an old directory')
})

const bad: [title: string, entries: readonly (RawEntry | Buffer)[] | Buffer, code: string, message: RegExp][] = [
  ['parent components', [{ name: '../escape', data: 'x' }], 'TAR_ESCAPE', /\.\./],
  ['parent components inside', [{ name: 'a/../../escape', data: 'x' }], 'TAR_ESCAPE', /\.\./],
  ['only dots', [{ name: '..', type: '5' }], 'TAR_ESCAPE', /\.\./],
  ['a file called .', [{ name: '.', data: 'x' }], 'TAR_NAME', /empty name/],
  ['an empty name', [{ name: '', data: 'x' }], 'TAR_NAME', /empty name/],
  [
    'a parent that is a symlink to itself',
    [
      { name: 'a', type: '2', link: '/a' },
      { name: 'a/passwd', data: 'x' },
    ],
    'TAR_ESCAPE',
    /loop/,
  ],
  [
    'a file as parent',
    [
      { name: 'a', data: '1' },
      { name: 'a/b', data: 'x' },
    ],
    'TAR_ESCAPE',
    /no directory/,
  ],
  ['a hard link outward', [{ name: 'h', type: '1', link: '../../etc/shadow' }], 'TAR_ESCAPE', /\.\./],
  [
    'a hard link to a directory',
    [
      { name: 'd', type: '5' },
      { name: 'h', type: '1', link: 'd' },
    ],
    'TAR_ESCAPE',
    /directory/,
  ],
  ['a name of 256 bytes', [{ name: 'x', data: '1', pax: { path: 'n'.repeat(256) } }], 'TAR_NAME', /256 bytes/],
  [
    'a path of depth 10,000',
    [{ name: 'x', data: '1', pax: { path: 'd/'.repeat(10000) + 'f' } }],
    'TAR_NAME',
    /20001 bytes/,
  ],
  ['a NUL in a name', [{ name: 'x', data: '1', pax: { path: 'a\0b' } }], 'TAR_NAME', /NUL/],
  ['the reserved name', [{ name: '.lamina/ab/cd', data: 'x' }], 'TAR_NAME', /reserved/],
  ['a whiteout of nothing', [{ name: 'a/.wh.' }], 'TAR_NAME', /whiteout/],
  ['a whiteout of ..', [{ name: 'a/.wh...' }], 'TAR_NAME', /whiteout/],
  ['a device 0:0', [{ name: 'w', type: '3' }], 'TAR_UNSUPPORTED', /whiteout/],
  ['an empty symlink', [{ name: 's', type: '2' }], 'TAR_NAME', /target/],
  ['an unknown type', [{ name: 'q', type: 'Q' }], 'TAR_UNSUPPORTED', /type/],
  ['a multi-volume archive', [{ name: 'm', type: 'M' }], 'TAR_UNSUPPORTED', /multi-volume/],
  ['a truncated file', rawTar([{ name: 'f', data: 'y'.repeat(5000) }]).subarray(0, 2000), 'TAR_CORRUPT', /end/],
  ['a truncated header', rawTar([{ name: 'f', data: 'y' }]).subarray(0, 300), 'TAR_CORRUPT', /end/],
  ['a size beyond the archive', rawTar([{ name: 'f', data: 'y', size: 1e6 }]), 'TAR_CORRUPT', /end/],
  ['a negative size', [{ name: 'f', patch: h => h.fill(0xff, 124, 136) }], 'TAR_CORRUPT', /negative/],
  ['a size of 2^70', [{ name: 'f', patch: h => h.fill(0x81, 124, 136) }], 'TAR_CORRUPT', /large/],
  [
    'a bad checksum',
    Buffer.concat([header({ name: 'f' }).fill('9', 148, 154), Buffer.alloc(1024)]),
    'TAR_CORRUPT',
    /checksum/,
  ],
  ['what is no tar', Buffer.alloc(4096, 'no tar at all '), 'TAR_CORRUPT', /checksum/],
  ['a lone zero block', rawTar([{ name: 'a' }, Buffer.alloc(512), { name: 'b' }]), 'TAR_CORRUPT', /zero block/],
  [
    'a broken PAX record',
    [
      Buffer.concat([header({ name: 'x', type: 'x', data: '99 path=abc\n' }), Buffer.alloc(512, '99 path=abc\n')]),
      { name: 'f' },
    ],
    'TAR_CORRUPT',
    /PAX/,
  ],
  ['a giant PAX header', [header({ name: 'x', type: 'x', size: 5e6 })], 'TAR_LIMIT', /5000000/],
  [
    'a sparse map that runs backwards',
    [{ name: 's', data: 'x'.repeat(10), pax: { 'GNU.sparse.size': '100', 'GNU.sparse.map': '50,5,0,5' } }],
    'TAR_CORRUPT',
    /sparse/,
  ],
  [
    'a sparse map that lies',
    [{ name: 's', data: 'x'.repeat(10), pax: { 'GNU.sparse.size': '100', 'GNU.sparse.map': '0,99' } }],
    'TAR_CORRUPT',
    /sparse/,
  ],
  ['an mtime that is no number', [{ name: 'f', pax: { mtime: 'soon' } }], 'TAR_CORRUPT', /mtime/],
  ['a uid of 2^32', [{ name: 'f', pax: { uid: '4294967296' } }], 'TAR_UNSUPPORTED', /uid/],
  [
    'an xattr that is too large',
    [{ name: 'f', pax: { 'SCHILY.xattr.user.x': 'v'.repeat(65536) } }],
    'TAR_UNSUPPORTED',
    /xattr/,
  ],
]

t.test('bad input ends with one clear error', async t => {
  for (const [title, entries, code, message] of bad) {
    await t.test(title, async t => {
      try {
        await ingest(entries)
        t.fail('was accepted')
      } catch (error) {
        t.ok(error instanceof TarError, String(error))
        t.equal((error as TarError).code, code)
        t.match((error as TarError).message, message)
        t.notMatch((error as TarError).message, /\n/)
      }
    })
  }
})

t.test('limits: entries, and bytes that only seem to be there', async t => {
  const many = Array.from({ length: 20 }, (_, i) => ({ name: `f${i}` }))
  await t.rejects(ingest(many, { entries: 19, bytes: 1e9 }), { code: 'TAR_LIMIT' })
  const huge = [{ name: 's', data: '', pax: { 'GNU.sparse.size': '1000000000000', 'GNU.sparse.map': '0,0' } }]
  await t.rejects(ingest(huge, { entries: 10, bytes: 1e9 }), { code: 'TAR_LIMIT' })
})

t.test('names of foreign xattr namespaces are counted, not kept', async t => {
  const { at, ingest: layer } = await ingest([
    { name: 'f', pax: { 'SCHILY.xattr.system.nfs4_acl': 'x', 'SCHILY.xattr.user.y': 'z' } },
  ])
  t.same([...(at('f')?.xattrs?.keys() ?? [])], ['user.y'])
  t.equal(layer.droppedXattrs.get('system.nfs4_acl'), 1)
})

t.test('chunks of every size give the same tree', async t => {
  const tar = rawTar([
    { name: 'a', data: 'x'.repeat(3000), pax: { mtime: '1.5' } },
    gnuLong('L', 'n'.repeat(150)),
    { name: 'n', data: 'short' },
    { name: 'd/', type: '5' },
  ])
  for (const size of [1, 7, 511, 512, 513, 1024, 100000]) {
    const layer = new LayerIngest(new Memory())
    await readTar(pieces(tar, size), layer)
    t.same([...(layer.finish().children?.keys() ?? [])], ['a', 'n'.repeat(150), 'd'], `pieces of ${size}`)
    t.equal(layer.root.children?.get('a')?.mtimeNs, 500000000)
  }
})
