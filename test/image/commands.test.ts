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
