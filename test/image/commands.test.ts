/** The commands of images as somebody types them: what they print, what they leave, their exit codes. */
import t from 'tap'
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { gzipSync } from 'node:zlib'
import { importProgress } from '../../lib/cli/image-progress.js'
import { main } from '../../lib/cli/main.js'
import { digestBytes, hexOf } from '../../lib/digest.js'
import { records } from '../../lib/mount/registry.js'
import { cannotMount, ended } from '../mount/workspace.js'
import { makeImage, ociArchive, ociLayout } from './made.js'

t.setTimeout(600_000)

const scratch = mkdtempSync(join(tmpdir(), 'lamina-commands-'))
process.env['LAMINA_ROOT'] = join(scratch, 'store')
process.env['LAMINA_RUN'] = join(scratch, 'run')
t.teardown(() => rmSync(scratch, { recursive: true, force: true }))

interface Said {
  readonly code: number
  readonly out: string
  readonly bytes: Buffer
  readonly err: string
}

async function fed(input: Buffer, ...args: string[]): Promise<Said> {
  const out: Buffer[] = []
  let err = ''
  const code = await main(args, {
    stdin: Readable.from([input]) as unknown as NodeJS.ReadStream,
    stdout: { write: chunk => (out.push(Buffer.from(chunk as string)), true) },
    stderr: { write: chunk => ((err += String(chunk)), true) },
  })
  const bytes = Buffer.concat(out)
  return { code, out: bytes.toString(), bytes, err }
}

/** What a command that must succeed prints. */
async function out(...args: string[]): Promise<string> {
  const said = await fed(Buffer.alloc(0), ...args)
  if (said.code !== 0) throw new Error(`lamina ${args.join(' ')}: exit ${said.code}: ${said.err}`)
  return said.out
}

const image = makeImage([
  [
    { name: 'etc/conf', data: 'conf' },
    { name: 'etc/other', data: 'other' },
  ],
  [{ name: 'etc/.wh.other' }, { name: 'added', data: 'x'.repeat(3000) }],
])
const id = hexOf(image.config).slice(0, 12)

t.test('in by every door, listed, named, out again, gone', async t => {
  const loaded = await fed(gzipSync(ociArchive(image, 'test/image:1')), 'load')
  t.match(loaded, {
    code: 0,
    out: 'Loaded image: test/image:1\n',
    err: /^[0-9a-f]{12}: Complete\n[0-9a-f]{12}: Complete\n$/,
  })
  t.match(
    await out('images'),
    new RegExp(`^REPOSITORY +TAG +IMAGE ID +CREATED +SIZE\\ntest/image +1 +${id} +.* ago +3\\.\\d+kB\\n$`),
  )
  t.equal(await out('images', '-q'), `${id}\n`)
  t.match(JSON.parse(await out('images', '--json')), [
    { repository: 'test/image', tag: '1', id: image.config, layers: 2 },
  ])
  t.equal(await out('images', '--format', '{{.Repository}}:{{.Tag}} {{.ID}}'), `test/image:1 ${id}\n`)
  t.match(await out('images', '--format', 'table {{.Tag}}\t{{.ID}}'), new RegExp(`^TAG +IMAGE ID\n1 +${id}\n$`))
  t.equal(await out('history', 'test/image:1', '--format', '{{.Step}} {{.CreatedBy}}'), '2 step 1\n1 step 0\n')
  await out('tag', 'test/image:1', 'test/image:other')
  t.match(await out('history', 'test/image:1'), /step 1[^]*step 0/)
  t.match(JSON.parse(await out('inspect', 'test/image:1')), [
    {
      Id: image.config,
      RepoTags: ['docker.io/test/image:1', 'docker.io/test/image:other'],
      RootFS: { Layers: { length: 2 } },
    },
  ])
  for (const format of ['oci', 'docker']) {
    const file = join(scratch, `saved-${format}.tar`)
    await out('save', '--format', format, '-o', file, 'test/image:1')
    const piped = await fed(Buffer.alloc(0), 'save', '--format', format, 'test/image:1')
    t.ok(readFileSync(file).equals(piped.bytes), `${format}: to a file or to a pipe`)
    t.equal(
      await out('rmi', '-f', id),
      `Untagged: test/image:1\n${format === 'oci' ? 'Untagged: test/image:other\n' : ''}Deleted: ${image.config}\n`,
    )
    t.equal(await out('images', '-q'), '')
    t.match(await out('load', '-q', '-i', file), /^Loaded image: test\/image:1\n$/, `${format} comes back`)
    t.match(
      await out('load', '-q', '-i', file),
      /^Loaded image: test\/image:1\n$/,
      'and again, when all of it is there',
    )
    t.equal(await out('images', '-q'), `${id}\n`)
  }
  const layout = join(scratch, 'layout')
  ociLayout(image, layout, 'test/layout:1')
  t.equal(await out('load', '-q', '-i', layout), 'Loaded image: test/layout:1\n')
  t.equal(await out('load', '-q', '--name', 'test/named:2', '-i', layout), 'Loaded image: test/named:2\n')

  const tar = (await fed(Buffer.alloc(0), 'export', 'test/image:1')).bytes
  const listing = spawnSync('tar', ['t'], { input: tar, encoding: 'utf8' }).stdout.split('\n').filter(Boolean)
  t.same(listing.sort(), ['./', 'added', 'etc/', 'etc/conf'].sort(), 'export: the files of all layers, whiteouts done')
  const imported = await fed(gzipSync(tar), 'import', '-c', 'CMD ["/bin/x"]', '-m', 'why', '-', 'test/flat:1')
  t.match(imported, { code: 0, out: /^sha256:[0-9a-f]{64}\n$/ })
  t.match(JSON.parse(await out('inspect', 'test/flat:1')), [
    { Config: { Cmd: ['/bin/x'] }, RootFS: { Layers: { length: 1 } } },
  ])
  t.match(await out('history', 'test/flat:1'), /why/)

  // Two with one config: the manifest that came, and the one made for what a Docker archive has.
  t.match(await out('fsck'), /^checked 3 images, 3 layers, \d+ blobs, 4 objects: nothing wrong\n$/)
  t.match(await out('df'), /^Images +3 +0 /m)
  for (const name of ['test/image:1', 'test/layout:1', 'test/named:2']) await out('rmi', name)
  t.match(await fed(Buffer.alloc(0), 'rmi', 'test/image:1'), { code: 1, err: /^lamina: .*no such image\n$/ })
  t.match(await out('prune', '-f', '-a'), /^Untagged: test\/flat:1\nDeleted: sha256:[^]*Total reclaimed space: /)
  t.equal(await out('images', '-q'), '')
  t.same(readdirSync(join(scratch, 'store/layers')), [])
})

t.test('images --filter', async t => {
  const dated = (year: number, labels?: Record<string, string>): ReturnType<typeof makeImage> =>
    makeImage([[{ name: 'year', data: String(year) }]], {
      config: c => {
        c['created'] = `${year}-01-01T00:00:00Z`
        if (labels !== undefined) c['config'] = { Labels: labels }
      },
    })
  await fed(ociArchive(dated(2001), 'test/old:1'), 'load', '-q')
  await fed(ociArchive(dated(2002, { a: 'b', c: '' }), 'test/middle:1'), 'load', '-q')
  await fed(ociArchive(dated(2003, { a: 'x' }), 'localhost:5000/test/new:2'), 'load', '-q')
  const shown = async (...filters: string[]): Promise<string[]> => {
    const words = filters.flatMap(f => ['--filter', f])
    const text = await out('image', 'ls', '--format', '{{.Repository}}:{{.Tag}}', ...words)
    return text.split('\n').filter(Boolean).sort()
  }
  const [old, middle, fresh] = ['test/old:1', 'test/middle:1', 'localhost:5000/test/new:2'] as const
  for (const [filters, expected] of [
    [[], [fresh, middle, old]],
    [['label=a'], [fresh, middle]],
    [['label=a=b'], [middle]],
    [['label=a', 'label=c'], [middle]],
    [['label=toString'], []],
    [['before=test/middle:1'], [old]],
    [['since=test/middle:1'], [fresh]],
    [['since=test/old:1', 'before=localhost:5000/test/new:2'], [middle]],
    [['until=2002-06-01'], [middle, old]],
    [['reference=test/old'], [old]],
    [['reference=test/*'], [middle, old]],
    [['reference=test/*:2'], []],
    [['reference=docker.io/test/m?ddle:[0-9]'], [middle]],
    [['reference=*'], []],
    [
      ['reference=test/old', 'reference=*/test/new'],
      [fresh, old],
    ],
    [['reference=test/old', 'label=a'], []],
    [['dangling=true'], []],
    [['dangling=false', 'label=c'], [middle]],
  ] as const)
    t.same(await shown(...filters), [...expected].sort(), filters.join(' '))
  for (const [filter, error] of [
    ['nonsense=1', /is none of dangling, reference, label/],
    ['label', /is not key=value/],
    ['dangling=perhaps', /neither true nor false/],
    ['before=ghost', /no such image/],
    ['reference=[z-a]', /is no pattern/],
  ] as const)
    t.match(await fed(Buffer.alloc(0), 'images', '-f', filter), { code: /1|2/, err: error }, filter)
  await out('tag', fresh, old)
  t.same(await shown('dangling=true'), ['<none>:<none>'], 'the one that lost its name')
  t.same(await shown('reference=test/old'), [old])
  await out('prune', '-f', '-a')
})

t.test('history --human, and the kinds that inspect looks for', async t => {
  const image = makeImage([[{ name: 'added', data: 'x'.repeat(3000) }]], {
    config: c => (c['history'] = [{ created: '2024-05-06T07:08:09Z', created_by: 'x' }]),
  })
  await fed(ociArchive(image, 'test/image:1'), 'load', '-q')
  const format = '{{.Size}} {{.CreatedSince}}'
  t.match(await out('history', 'test/image:1', '--format', format), /^3kB \d+ \w+ ago\n$/)
  t.match(await out('history', 'test/image:1'), / ago +x +3kB /)
  t.equal(
    await out('image', 'history', '--human=false', 'test/image:1', '--format', format),
    '3000 2024-05-06T07:08:09Z\n',
  )
  t.match(await out('history', '-H=false', 'test/image:1'), / 2024-05-06T07:08:09Z +x +3000 /)
  t.match(JSON.parse(await out('image', 'inspect', 'test/image:1')), [{ Id: image.config }])
  t.match(await fed(Buffer.alloc(0), 'container', 'inspect', 'test/image:1'), { code: 1, err: /no such container/ })
  await out('prune', '-f', '-a')
})

t.test('image prune: asks at a terminal, tells as docker, heeds filters', async t => {
  const load = (): Promise<Said> => fed(ociArchive(image, 'test/image:1'), 'load', '-q')
  const typed = async (answer: string, ...args: string[]): Promise<Said> => {
    const stdin = Object.assign(Readable.from([Buffer.from(answer)]), { isTTY: true })
    let [text, err] = ['', '']
    const code = await main(args, {
      stdin: stdin as unknown as NodeJS.ReadStream,
      stdout: { write: chunk => ((text += String(chunk)), true) },
      stderr: { write: chunk => ((err += String(chunk)), true) },
    })
    return { code, out: text, err, bytes: Buffer.alloc(0) }
  }
  await load()
  const question = /^WARNING! This will remove all images that no container uses\.\nAre you sure .*\[y\/N\] /
  t.match(await typed('n\n', 'image', 'prune', '-a'), { code: 1, out: '', err: question })
  t.match(await typed('\n', 'prune', '-a'), {
    code: 1,
    out: '',
    err: /This will remove:\n {2}- all images.*\n {2}- the build/,
  })
  t.equal(await out('images', '-q'), `${id}\n`, 'nothing was removed')
  t.equal(await out('image', 'prune', '-f'), 'Total reclaimed space: 0B\n', 'it has a name')
  t.equal(await out('image', 'prune', '-f', '-a', '--filter', 'label=x'), 'Total reclaimed space: 0B\n')
  t.equal(await out('image', 'prune', '-f', '-a', '--filter', 'until=2023-12-31'), 'Total reclaimed space: 0B\n')
  t.match(await fed(Buffer.alloc(0), 'image', 'prune', '-f', '--filter', 'x=y'), {
    err: /none of until, label, label!/,
  })
  t.match(await typed('y\n', 'image', 'prune', '-a', '--filter', 'until=2024-02-01', '--filter', 'label!=x'), {
    code: 0,
    out: new RegExp(
      `^Deleted Images:\\nuntagged: test/image:1\\ndeleted: ${image.config}\\n\\nTotal reclaimed space: [1-9][\\d.]*kB\\n$`,
    ),
  })
  t.equal(await out('images', '-q'), '')
  await load()
  t.match(await out('system', 'prune', '-f', '-a'), /^Deleted Images:\n[^]*Total reclaimed space: [1-9]/)
  t.equal(await out('images', '-q'), '')
})

t.test('a platform is chosen from an archive of several', async t => {
  const [amd, arm] = ['amd64', 'arm64'].map(architecture =>
    makeImage([[{ name: architecture, data: architecture }]], { config: c => (c['architecture'] = architecture) }),
  ) as [typeof image, typeof image]
  const index = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: 'application/vnd.oci.image.index.v1+json',
      manifests: [amd, arm].map((m, i) => ({
        mediaType: 'application/vnd.oci.image.manifest.v1+json',
        digest: m.digest,
        size: m.manifest.length,
        platform: { os: 'linux', architecture: i === 0 ? 'amd64' : 'arm64' },
      })),
    }),
  )
  const file = join(scratch, 'several.tar')
  const archive = ociArchive(amd, 'test/several:1', files => {
    for (const [digest, bytes] of arm.blobs) files.set(`blobs/sha256/${hexOf(digest)}`, bytes)
    files.set(`blobs/sha256/${hexOf(digestBytes(index))}`, index)
    const descriptor = {
      mediaType: 'application/vnd.oci.image.index.v1+json',
      digest: digestBytes(index),
      size: index.length,
      annotations: { 'org.opencontainers.image.ref.name': 'test/several:1' },
    }
    files.set('index.json', Buffer.from(JSON.stringify({ schemaVersion: 2, manifests: [descriptor] })))
  })
  writeFileSync(file, archive)
  for (const [platform, wanted] of [
    ['linux/arm64', arm],
    ['linux/amd64', amd],
  ] as const) {
    await out('load', '-q', '--platform', platform, '-i', file)
    t.match(JSON.parse(await out('inspect', 'test/several:1')), [{ Id: wanted.config }])
  }
  t.match(await fed(Buffer.alloc(0), 'load', '-q', '--platform', 'linux/s390x', '-i', file), {
    code: 1,
    err: /linux\/s390x/,
  })
  await out('prune', '-f', '-a')
})

t.test('a writable mount is kept, compared and committed', { skip: cannotMount }, async t => {
  const point = join(scratch, 'mnt')
  mkdirSync(point)
  t.teardown(async () => {
    const servers = records(process.env['LAMINA_RUN'] as string)
    await fed(Buffer.alloc(0), 'unmount', '--all')
    for (const server of servers) await ended(server)
  })
  const unmounted = async (): Promise<void> => {
    const servers = records(process.env['LAMINA_RUN'] as string)
    await out('unmount', point)
    for (const server of servers) await ended(server)
  }
  process.env['SOURCE_DATE_EPOCH'] = '1700000000'
  t.teardown(() => delete process.env['SOURCE_DATE_EPOCH'])
  await fed(ociArchive(image, 'test/image:1'), 'load', '-q')
  t.equal(await out('mount', '--writable=work', 'test/image:1', point), 'work\n')
  t.notOk(existsSync(join(point, 'etc/other')), 'what a layer deleted is not there')
  writeFileSync(join(point, 'new'), 'new')
  writeFileSync(join(point, 'etc/conf'), 'changed')
  rmSync(join(point, 'added'))
  t.same((await out('diff', 'work')).split('\n').sort(), ['', 'A /new', 'C /etc/conf', 'D /added'])
  t.match(await fed(Buffer.alloc(0), 'rmi', 'test/image:1'), { code: 1, err: /in use/ })
  await unmounted()
  const first = await out('commit', 'work', 'test/changed:1')
  t.equal(await out('commit', 'work', 'test/changed:2'), first, 'the same upper, the same image')
  await out('mount', '--writable=work', 'test/image:1', point)
  t.equal(readFileSync(join(point, 'new'), 'utf8'), 'new', 'the top layer is kept')
  await unmounted()
  await out('mount', 'test/changed:1', point)
  t.equal(readFileSync(join(point, 'etc/conf'), 'utf8'), 'changed')
  t.same(readdirSync(point).sort(), ['etc', 'new'])
  t.throws(() => writeFileSync(join(point, 'x'), ''), { code: 'EROFS' }, 'read-only unless asked')
  await unmounted()
  await out('rm', 'work')
})

t.test('progress: a line per layer on a terminal, drawn again in place; its end only elsewhere', t => {
  const shown = (isTTY: boolean): string => {
    let text = ''
    const progress = importProgress({ write: chunk => ((text += String(chunk)), true), isTTY, columns: 60 }, false)
    const digest = image.layers[0]?.digest ?? image.digest
    progress.layer(digest, 2_000_000, false)
    progress.progress(digest, 1_000_000)
    progress.layer(image.digest, 5, true)
    progress.done(digest)
    progress.close()
    return text
  }
  const short = (digest: string): string => digest.slice(7, 19)
  t.match(
    shown(false),
    new RegExp(`^${short(image.digest)}: Already exists\\n${short(image.layers[0]?.digest ?? '')}: Complete\\n$`),
  )
  const terminal = shown(true)
  t.match(terminal, /\x1b\[\dA\x1b\[2K/, 'goes up and clears')
  t.match(terminal, /: Loading \[=+> +\] 1MB\/2MB|: Complete/)
  for (const line of terminal.split('\n')) t.ok(line.length < 80, 'no longer than the terminal')
  t.end()
})
