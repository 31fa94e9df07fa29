import t from 'tap'
import { spawnSync } from 'node:child_process'
import {
  chmodSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { bytesOf } from '../../lib/bytes.js'
import { hexOf } from '../../lib/digest.js'
import { diskUsage } from '../../lib/image/df.js'
import { fsck } from '../../lib/image/fsck.js'
import { pruneImages, removeImage } from '../../lib/image/gc.js'
import { imageHistory } from '../../lib/image/history.js'
import { listImages, resolveImage, type StoredImage } from '../../lib/image/images.js'
import { importRootfs, exportImage } from '../../lib/image/import-rootfs.js'
import { loadImages } from '../../lib/image/load.js'
import { imageLowers } from '../../lib/image/lowers.js'
import { pinImage, unpin } from '../../lib/image/pin.js'
import { Store } from '../../lib/image/store.js'
import { tagImage } from '../../lib/image/tag.js'
import { ImageWriter } from '../../lib/image/writer.js'
import { commitUpper } from '../../lib/image/commit.js'
import { openIndex } from '../../lib/layer/indexed.js'
import { openDirectoryLayer } from '../../lib/layer/directory.js'
import { Stat } from '../../lib/sys/stat.js'
import { pieces, rawTar, type RawEntry } from '../layer/raw-tar.js'
import { lamina } from '../cli/lamina.js'
import { makeImage, ociArchive, type MadeOptions } from './made.js'

t.setTimeout(900_000)

const scratch = mkdtempSync(join(tmpdir(), 'lamina-store-'))
t.teardown(() => rmSync(scratch, { recursive: true, force: true }))
let stores = 0
const newStore = (): Store => Store.open(join(scratch, `s${stores++}`))

const BASE: RawEntry[] = [
  { name: 'bin/', type: '5', mode: 0o755 },
  { name: 'bin/tool', data: 'tool'.repeat(1000), mode: 0o755 },
  { name: 'etc/conf', data: 'conf' },
  { name: 'etc/other', data: 'other' },
]
const TOP: RawEntry[] = [
  { name: 'etc/.wh.other' },
  { name: 'bin/tool2', data: 'tool'.repeat(1000) },
  { name: 'hard', type: '1', link: 'bin/tool' },
]

async function load(
  store: Store,
  layers: readonly (readonly RawEntry[] | Buffer)[],
  name = 'docker.io/test/image:1',
  options: MadeOptions = {},
): Promise<StoredImage> {
  const file = join(scratch, `archive-${stores++}.tar`)
  writeFileSync(file, ociArchive(makeImage(layers, options), name))
  const [image] = await loadImages(store, file)
  return image as StoredImage
}

function list(store: Store, image: StoredImage): string[] {
  const [lower] = imageLowers(store, image)
  const layer = openIndex(bytesOf(lower?.path ?? ''), bytesOf(store.objects))
  const names: string[] = []
  const walk = (node: number, path: string): void => {
    layer.list(node, (name, type, ino) => {
      names.push(`${path}/${name}`)
      if (type === 4) walk(ino, `${path}/${name}`)
    })
  }
  walk(layer.root, '')
  layer.close()
  return names.sort()
}

t.test('an image comes in, is found by name and ID, and shows its layers as one tree', async t => {
  const store = newStore()
  const image = await load(store, [BASE, TOP])
  t.same(list(store, image), ['/bin', '/bin/tool', '/bin/tool2', '/etc', '/etc/conf', '/hard'])
  for (const text of [
    'test/image:1',
    'docker.io/test/image:1',
    image.id,
    hexOf(image.id).slice(0, 12),
    hexOf(image.digest).slice(0, 8),
  ])
    t.equal(resolveImage(store, text).id, image.id, text)
  for (const text of ['test/image:2', 'nothing', 'ffffffffffff'])
    t.throws(() => resolveImage(store, text), { code: 'IMAGE_NOT_FOUND' })
  t.throws(() => resolveImage(store, 'Bad Name'), { code: 'REFERENCE_INVALID' })
  t.same(
    imageHistory(store, image).map(s => s.createdBy),
    ['step 1', 'step 0'],
  )
  const [lower] = imageLowers(store, image)
  const layer = openIndex(bytesOf(lower?.path ?? ''), bytesOf(store.objects))
  const st = new Stat()
  const hard = layer.lookup(layer.root, 'hard', st)
  t.equal(st.nlink, 2, 'a hard link to a file of the layer below is one file with it')
  t.equal(layer.lookup(layer.lookup(layer.root, 'bin', st), 'tool', st), hard)
  layer.close()
  t.same((await fsck(store)).problems, [])
})

t.test('whiteouts of what does not exist hide nothing, and are no error', async t => {
  const store = newStore()
  const image = await load(store, [
    BASE,
    [{ name: 'nowhere/.wh.nothing' }, { name: '.wh.absent' }, { name: 'bin/.wh.toolbox' }],
  ])
  t.same(list(store, image), ['/bin', '/bin/tool', '/etc', '/etc/conf', '/etc/other', '/nowhere'])
  t.same((await fsck(store)).problems, [])
})

t.test('every compression, and layers that are no gzip', async t => {
  const store = newStore()
  t.same(
    list(
      store,
      await load(store, [BASE], 'x/plain:1', {
        compress: tar => tar,
        layerType: 'application/vnd.oci.image.layer.v1.tar',
      }),
    ).length,
    5,
  )
  const zstd = await load(store, [BASE], 'x/zstd:1', {
    compress: zstdStored,
    layerType: 'application/vnd.oci.image.layer.v1.tar+zstd',
  })
  t.equal(list(store, zstd).length, 5)
  await t.rejects(load(store, [BASE], 'x/cut:1', { compress: tar => zstdStored(tar).subarray(0, 900) }), {
    code: 'BLOB_CORRUPT',
    message: /zstd data ends early/,
  })
})

/** A zstd frame of raw blocks (RFC 8878, 3.1.1): what any decoder must read, without needing a compressor. */
function zstdStored(data: Buffer): Buffer {
  const parts: Buffer[] = [Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x38])]
  const step = 1 << 16
  for (let at = 0; at < data.length; at += step) {
    const block = data.subarray(at, at + step)
    const head = Buffer.alloc(3)
    head.writeUIntLE((block.length << 3) | (at + step >= data.length ? 1 : 0), 0, 3)
    parts.push(head, block)
  }
  return Buffer.concat(parts)
}

t.test('equal files are one object, whatever image, layer or name they are in', async t => {
  const store = newStore()
  await load(store, [BASE, TOP], 'a/one:1')
  const before = diskUsage(store)
  await load(store, [[...BASE, { name: 'more', data: 'tool'.repeat(1000) }]], 'a/two:1')
  const after = diskUsage(store)
  t.equal(after.objects.count, before.objects.count, 'no new object')
  t.ok(after.saved > 8000, `${after.saved} bytes saved`)
  t.ok(after.images.every(i => i.shared > 0))
  for (const prefix of readdirSync(join(store.objects, '.lamina')))
    for (const name of readdirSync(join(store.objects, '.lamina', prefix)))
      t.equal(statSync(join(store.objects, '.lamina', prefix, name)).mode & 0o7777, 0o444)
})

t.test('bad images end with one clear error, and nothing has changed', async t => {
  const gz = (tar: Buffer): Buffer => makeImage([tar]).layers[0]?.blob as Buffer
  const cases: [string, () => Buffer, string, RegExp][] = [
    ['a truncated blob', () => damage(i => i.subarray(0, i.length - 10)), 'SIZE_MISMATCH', /announced/],
    ['a flipped byte in a blob', () => damage(i => flip(i, 30)), 'BLOB_CORRUPT|DIGEST_MISMATCH|TAR_CORRUPT', /./],
    [
      'a diffID that is another’s',
      () =>
        ociArchive(
          makeImage([BASE], {
            config: c => (c['rootfs'] = { type: 'layers', diff_ids: [`sha256:${'0'.repeat(64)}`] }),
          }),
        ),
      'DIFFID_MISMATCH',
      /unpacks to/,
    ],
    [
      'fewer diffIDs than layers',
      () => ociArchive(makeImage([BASE, TOP], { config: c => (c['rootfs'] = { type: 'layers', diff_ids: [] }) })),
      'MANIFEST_INVALID',
      /2 layers/,
    ],
    [
      'a layer of a foreign media type',
      () => ociArchive(makeImage([BASE], { layerType: 'application/x-something' })),
      'MEDIA_TYPE',
      /x-something/,
    ],
    [
      'a foreign layer',
      () => ociArchive(makeImage([BASE], { layerType: 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip' })),
      'MEDIA_TYPE',
      /foreign/,
    ],
    [
      'an artifact that is no image',
      () =>
        ociArchive(
          makeImage([BASE], {
            manifest: m => ((m['config'] as Record<string, unknown>)['mediaType'] = 'application/vnd.cncf.helm.config'),
          }),
        ),
      'MEDIA_TYPE',
      /helm/,
    ],
    [
      'Docker schema 1',
      () => ociArchive(makeImage([BASE], { manifest: m => (m['schemaVersion'] = 1) })),
      'MEDIA_TYPE',
      /schema 1/,
    ],
    [
      'a manifest with a digest of another form',
      () =>
        ociArchive(
          makeImage([BASE], {
            manifest: m => ((m['config'] as Record<string, unknown>)['digest'] = 'sha256:../../etc/passwd'),
          }),
        ),
      'MANIFEST_INVALID',
      /digest/,
    ],
    [
      'a negative size',
      () => ociArchive(makeImage([BASE], { manifest: m => ((m['config'] as Record<string, unknown>)['size'] = -1) })),
      'MANIFEST_INVALID',
      /size/,
    ],
    [
      'a manifest of 5 MiB',
      () => ociArchive(makeImage([BASE], { manifest: m => (m['annotations'] = { x: 'y'.repeat(5 << 20) }) })),
      'MANIFEST_TOO_LARGE',
      /limit/,
    ],
    ['a layer that escapes', () => ociArchive(makeImage([[{ name: '../out', data: 'x' }]])), 'TAR_ESCAPE', /\.\./],
    [
      'a hard link that no layer can satisfy',
      () => ociArchive(makeImage([BASE, [{ name: 'h', type: '1', link: 'nowhere' }]])),
      'LAYER_LINK',
      /nowhere/,
    ],
    [
      'a missing blob',
      () =>
        ociArchive(makeImage([BASE]), 'x/y:1', files =>
          [...files.keys()]
            .filter(k => k.startsWith('blobs'))
            .slice(-1)
            .forEach(k => files.delete(k)),
        ),
      'BLOB_MISSING',
      /not in the archive/,
    ],
    ['an archive of nothing', () => rawTar([{ name: 'readme', data: 'x' }]), 'ARCHIVE_INVALID', /neither/],
    ['an archive that is no tar', () => Buffer.alloc(5000, 'zz'), 'TAR_CORRUPT', /./],
    [
      'an archive that is cut',
      () => ociArchive(makeImage([BASE])).subarray(0, 4000),
      'ARCHIVE_INVALID|TAR_CORRUPT',
      /./,
    ],
  ]
  function damage(change: (blob: Buffer) => Buffer): Buffer {
    const image = makeImage([BASE])
    return ociArchive(image, 'x/y:1', files => {
      const name = `blobs/sha256/${hexOf(image.layers[0]?.digest as never)}`
      files.set(name, change(files.get(name) as Buffer))
    })
  }
  function flip(bytes: Buffer, at: number): Buffer {
    const copy = Buffer.from(bytes)
    copy[at] = (copy[at] as number) ^ 0xff
    return copy
  }
  t.ok(gz(rawTar(BASE)))
  for (const [title, archive, code, message] of cases)
    await t.test(title, async t => {
      const store = newStore()
      const kept = await load(store, [[{ name: 'kept', data: 'k' }]], 'kept/image:1')
      const file = join(scratch, 'bad.tar')
      writeFileSync(file, archive())
      try {
        await loadImages(store, file)
        t.fail('was accepted')
      } catch (error) {
        t.match((error as { code: string }).code, new RegExp(`^(${code})$`))
        t.match((error as Error).message, message)
        t.notMatch((error as Error).message, /\n/)
      }
      const said = await lamina('--root', store.root, 'load', '-q', '-i', file)
      t.match(said, { code: 1, stdout: '', stderr: /^lamina: .+\n$/ }, 'and so says the command')
      t.same(
        listImages(store).map(i => i.id),
        [kept.id],
      )
      t.same(readdirSync(store.tmp), [])
      t.same((await fsck(store)).problems, [])
    })
})

t.test('a layer bomb stops at the limit, by what inflates and by what is declared', async t => {
  const store = newStore()
  const zeros = join(scratch, 'bomb.tar')
  writeFileSync(zeros, ociArchive(makeImage([[{ name: 'z', data: Buffer.alloc(30 << 20) }]])))
  await t.rejects(loadImages(store, zeros, { limits: { entries: 100, bytes: 10 << 20 } }), {
    code: /LAYER_TOO_LARGE|TAR_LIMIT/,
  })
  t.same(listImages(store), [])
  await loadImages(store, zeros)
  t.ok(diskUsage(store).objects.disk < 1 << 20, 'zeros become a hole')
})

t.test('names: a taken one moves, the image that loses its last one stays without', async t => {
  const store = newStore()
  const one = await load(store, [BASE], 'x/a:1')
  const two = await load(store, [TOP.slice(0, 2)], 'x/a:1')
  t.same(
    listImages(store)
      .map(i => i.names.length)
      .sort((a, b) => a - b),
    [0, 1],
  )
  t.equal(resolveImage(store, 'x/a:1').id, two.id)
  await tagImage(store, one.id, 'x/b:1')
  await tagImage(store, 'x/b:1', 'x/c:1')
  await t.rejects(removeImage(store, one.id), { code: 'IMAGE_IN_USE' }, 'two names: by ID only with force')
  t.same((await removeImage(store, 'x/b:1')).untagged, ['x/b:1'])
  t.same((await removeImage(store, 'x/c:1')).deleted, [one.id])
  t.throws(() => resolveImage(store, one.id), { code: 'IMAGE_NOT_FOUND' })
  await t.rejects(removeImage(store, 'x/c:1'), { code: 'IMAGE_NOT_FOUND' })
  await t.rejects(tagImage(store, 'x/a:1', 'UPPER:1'), { code: 'REFERENCE_INVALID' })
})

t.test('what is used stays: pins keep an image from rmi and prune, in whole', async t => {
  const store = newStore()
  const image = await load(store, [BASE, TOP], 'x/used:1')
  const files = list(store, image)
  const pin = await pinImage(store, image, 'a test')
  await t.rejects(removeImage(store, 'x/used:1'), { code: 'IMAGE_IN_USE', message: /a test/ })
  await removeImage(store, 'x/used:1', { force: true })
  await pruneImages(store, { all: true })
  t.same(list(store, image), files)
  t.same((await fsck(store)).problems, [])
  pin.release()
  const gone = await pruneImages(store)
  t.same(gone.deleted, [image.id])
  t.ok(gone.freed.bytes > 0)
  t.equal(gone.freed.layers, 2)
  t.equal(readdirSync(join(store.root, 'layers')).length, 0)
  t.equal(readdirSync(join(store.root, 'blobs/sha256')).length, 0)
  t.equal(diskUsage(store).objects.count, 1, 'only the empty object is left')

  const again = await load(store, [BASE], 'x/held:1')
  await pinImage(store, again, 'a container', { pid: null, name: 'container-1' })
  await t.rejects(removeImage(store, 'x/held:1'), { code: 'IMAGE_IN_USE' })
  unpin(store, 'container-1')
  const child = spawnSync(process.execPath, ['-e', ''])
  await pinImage(store, again, 'a dead process', { pid: child.pid })
  t.same((await removeImage(store, 'x/held:1')).deleted, [again.id], 'a dead process holds nothing')
})

t.test('gc leaves shared layers and objects to the images that stay', async t => {
  const store = newStore()
  const one = await load(store, [BASE, TOP], 'x/one:1')
  await load(store, [BASE], 'x/two:1')
  await removeImage(store, 'x/two:1')
  t.same(list(store, one).length, 6)
  t.same((await fsck(store)).problems, [])
})

t.test('fsck finds every kind of damage, and repairs what it can', async t => {
  const store = newStore()
  const image = await load(store, [BASE, TOP])
  const object = readdirSync(join(store.objects, '.lamina')).flatMap(p =>
    readdirSync(join(store.objects, '.lamina', p)).map(n => join(store.objects, '.lamina', p, n)),
  )
  const hurt: [string, () => void][] = [
    [
      'an object with other content',
      () => {
        const f = object.find(o => statSync(o).size === 4000) as string
        chmodSync(f, 0o644)
        writeFileSync(f, 'x'.repeat(4000))
      },
    ],
    [
      'an object that is cut',
      () => {
        const f = object.find(o => statSync(o).size === 4000) as string
        chmodSync(f, 0o644)
        truncateSync(f, 10)
      },
    ],
    ['an object that is gone', () => rmSync(object.find(o => statSync(o).size === 4000) as string)],
    [
      'the empty object',
      () => rmSync(store.object('e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855')),
    ],
    [
      'a layer index with a flipped byte',
      () => {
        const f = store.layer(image.layers[0]?.diffID as never)
        const b = readFileSync(f)
        b[5000 % b.length] = (b[5000 % b.length] as number) ^ 1
        writeFileSync(f, b)
      },
    ],
    ['a layer index that is gone', () => rmSync(store.layer(image.layers[1]?.diffID as never))],
    ['a chain index that is cut', () => truncateSync(store.chain(image.chain as never), 4096)],
  ]
  for (const [title, damage] of hurt) {
    damage()
    const found = await fsck(store)
    t.ok(found.problems.length > 0, `${title} is found`)
    const repaired = await fsck(store, { repair: true })
    t.ok(
      repaired.problems.every(p => p.repaired),
      `${title}: ${JSON.stringify(repaired.problems)}`,
    )
    t.same((await fsck(store)).problems, [], `${title} is repaired`)
    t.same(list(store, image).length, 6)
  }
  const blob = store.blob(image.layers[0]?.digest as never)
  writeFileSync(blob, 'not it')
  t.ok((await fsck(store)).problems.some(p => p.kind === 'blob'))
  await fsck(store, { repair: true })
  t.same(listImages(store), [], 'an image whose blob is lost cannot be kept')
  t.same((await fsck(store)).problems, [])
})

t.test('a store of a newer format, or what is no store, is refused and not touched', async t => {
  const store = newStore()
  writeFileSync(join(store.root, 'lamina.json'), '{"format":2}')
  t.throws(() => Store.open(store.root), { code: 'STORE_VERSION', message: /newer/ })
  writeFileSync(join(store.root, 'lamina.json'), '{')
  t.throws(() => Store.open(store.root), { code: 'STORE_DAMAGED' })
  const other = join(scratch, 'home')
  spawnSync('mkdir', [other])
  writeFileSync(join(other, 'letter'), 'dear')
  t.throws(() => Store.open(other), { code: 'STORE_DAMAGED', message: /no store/ })
  t.same(readdirSync(other), ['letter'])
})

t.test('what a dead command left in tmp is swept, what a living one uses is not', async t => {
  const store = newStore()
  const living = store.session()
  const dead = join(store.tmp, '1-dead')
  spawnSync('mkdir', [dead])
  Store.open(store.root)
  t.notOk(existsSync(dead))
  t.ok(existsSync(living.path))
  living.close()
})

t.test('concurrent loads, tags and prunes of one store end in a sound state', async t => {
  const store = newStore()
  const archives = Array.from({ length: 6 }, (_, i) => {
    const file = join(scratch, `c${i}.tar`)
    writeFileSync(file, ociArchive(makeImage([BASE, [{ name: `own${i}`, data: `own ${i}` }]]), `c/i${i}:1`))
    return file
  })
  await Promise.all([
    ...archives.map(file => loadImages(store, file)),
    pruneImages(store),
    ...archives.map(file => loadImages(store, file)),
    pruneImages(store),
  ])
  t.equal(listImages(store).length, 6)
  t.same((await fsck(store)).problems, [])
})

t.test('import keeps the tar as it is; export gives the same tree back', async t => {
  const store = newStore()
  const tar = rawTar([
    { name: './', type: '5', mode: 0o700 },
    ...BASE,
    { name: 'hard', type: '1', link: 'etc/conf' },
    {
      name: 'caps',
      data: 'c',
      pax: { 'SCHILY.xattr.security.capability': Buffer.from([1, 0, 0, 2, 255]), mtime: '5.25' },
    },
  ])
  const image = await importRootfs(store, pieces(tar), {
    name: 'x/rootfs:1',
    changes: ['CMD ["/bin/tool", "-v"]', 'ENV A=1 B="two words"', 'EXPOSE 80', 'WORKDIR /etc'],
  })
  t.ok(readFileSync(store.blob(image.layers[0]?.digest as never)).equals(tar))
  t.match(image.config.config, {
    Cmd: ['/bin/tool', '-v'],
    Env: ['A=1', 'B=two words'],
    ExposedPorts: { '80/tcp': {} },
    WorkingDir: '/etc',
  })
  const parts: Buffer[] = []
  for await (const chunk of exportImage(store, image)) parts.push(chunk)
  const back = await importRootfs(store, pieces(Buffer.concat(parts)), {})
  const index = (i: StoredImage): Buffer => readFileSync(store.chain(i.chain as never))
  t.ok(index(image).equals(index(back)), 'the same index, byte for byte')
  await t.rejects(importRootfs(store, pieces(tar), { changes: ['RUN rm -rf /'] }), { code: 'UNSUPPORTED' })
})

t.test('commit: the upper becomes a layer, the same one every time', async t => {
  const store = newStore()
  const base = await load(store, [BASE], 'x/base:1')
  const upper = join(scratch, 'upper')
  spawnSync('mkdir', ['-p', `${upper}/etc`, `${upper}/new`])
  writeFileSync(join(upper, 'new/file'), 'fresh')
  symlinkSync('file', join(upper, 'new/link'))
  writeFileSync(join(upper, 'etc/conf'), 'changed')
  const marks = spawnSync('mknod', [join(upper, 'etc/other'), 'c', '0', '0']).status === 0
  const commit = async (name: string): Promise<StoredImage> => {
    const writer = await ImageWriter.open(store)
    const [lower] = imageLowers(store, base)
    const below = openIndex(bytesOf(lower?.path ?? ''), bytesOf(store.objects))
    const layer = openDirectoryLayer(bytesOf(upper))
    try {
      return await commitUpper(writer, layer, [below], base, {
        names: [name],
        message: 'why',
        clock: 1700000000,
        changes: ['USER 1000'],
      })
    } finally {
      layer.close()
      below.close()
      writer.close()
    }
  }
  const one = await commit('x/committed:1')
  t.equal(one.layers.length, 2)
  t.equal(one.config.config?.User, '1000')
  t.same(list(store, one), [
    '/bin',
    '/bin/tool',
    '/etc',
    '/etc/conf',
    ...(marks ? [] : ['/etc/other']),
    '/new',
    '/new/file',
    '/new/link',
  ])
  const two = await commit('x/committed:2')
  t.equal(two.digest, one.digest, 'the same upper and clock: the same image')
  t.same((await fsck(store)).problems, [])
  renameSync(upper, `${upper}-done`)
})
