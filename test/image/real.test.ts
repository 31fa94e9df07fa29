import t, { type Test } from 'tap'
import {
  chmodSync,
  copyFileSync,
  createReadStream,
  existsSync,
  mkdirSync,
  mkdtempSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { homedir, tmpdir } from 'node:os'
import { join } from 'node:path'
import { bytesOf } from '../../lib/bytes.js'
import { ensureChain } from '../../lib/image/chain.js'
import { fsck } from '../../lib/image/fsck.js'
import { resolveImage, type StoredImage } from '../../lib/image/images.js'
import { importRootfs } from '../../lib/image/import-rootfs.js'
import { imageLowers } from '../../lib/image/lowers.js'
import { loadImages } from '../../lib/image/load.js'
import { pullImage } from '../../lib/image/pull.js'
import { pushImage } from '../../lib/image/push.js'
import { saveImages } from '../../lib/image/save.js'
import { Store } from '../../lib/image/store.js'
import { tagImage } from '../../lib/image/tag.js'
import { openIndex } from '../../lib/layer/indexed.js'
import { closeConnections } from '../../lib/image/http.js'
import { MountServer } from '../../lib/mount/server.js'
import { compareWithDirectory } from './compare.js'
import { missing, run, startRegistry } from './tools.js'

t.setTimeout(900_000)
const scratch = mkdtempSync(join(tmpdir(), 'lamina-real-'))
t.teardown(() => rmSync(scratch, { recursive: true, force: true }))

/** What is hard about files, as a shell script in the root of a new tree. */
const LAYER1 = `set -e
mkdir -p dir/sub gone replaced/old etc usr/bin many
echo content > dir/file; ln dir/file dir/hard; ln dir/file hard-elsewhere
echo suid > usr/bin/suid; chmod 4755 usr/bin/suid
echo caps > usr/bin/caps; setfattr -n security.capability -v 0x0100000200040000000000000000000000000000 usr/bin/caps
setfattr -n user.note -v "some text" dir/file
truncate -s 3M sparse; printf end >> sparse; printf mid | dd of=sparse bs=1 seek=1000000 conv=notrunc status=none
printf x > "$(printf 'not-utf8-\\377\\376')"; printf y > "$(printf 'new\\nline')"; printf z > 'sp ace'
ln -s /absolute/nowhere link; ln -s dir/file rel; mkfifo pipe; mknod null c 1 3; mknod disk b 8 1
echo a > gone/a; echo b > gone/b; echo old > replaced/old/x; echo keep > kept
chown -h 1234:5678 link; chown 70000:70001 kept; chmod 1777 many; touch -d '1999-12-31 23:59:59.123456789' kept
touch -d '2001-02-03 04:05:06' dir; for i in $(seq 300); do echo $i > many/file$i; done
`
const LAYER2 = `set -e
rm -r gone; rm dir/sub -r; rm -r replaced; mkdir replaced; echo new > replaced/new
ln kept kept-link; chmod 600 usr/bin/suid; rm many/file7; echo changed > many/file8
mv hard-elsewhere moved; mkdir -p deep/er/est; echo d > deep/er/est/f; ln -sfn kept rel
`
const LAYER3 = `set -e
echo again > gone; rm link; mkdir link; echo in > link/inside; rm -f many/file9; touch -d '2020-01-01' deep
`

function oracle(layout: string, name: string): string {
  const bundle = join(scratch, name)
  run('umoci', ['unpack', '--image', layout, bundle])
  return join(bundle, 'rootfs')
}

/** Every entry of an image's flattened index against umoci's unpacked tree. */
function sameAsUnpacked(t: Test, store: Store, image: StoredImage, rootfs: string, least: number): void {
  const path = ensureChain(
    store,
    store.tmp,
    image.layers.map(l => l.diffID),
  )
  const layer = openIndex(bytesOf(path), bytesOf(store.objects))
  const { differences, entries } = compareWithDirectory(layer, rootfs)
  layer.close()
  t.same(differences.slice(0, 20), [])
  t.ok(entries >= least, `${entries} entries compared`)
}

t.test('an image made by buildah', { skip: missing('buildah', 'umoci', 'skopeo', 'setfattr') }, async t => {
  const storage = ['--root', join(scratch, 'b/root'), '--runroot', join(scratch, 'b/run'), '--storage-driver', 'vfs']
  const buildah = (...args: string[]): string => run('buildah', [...storage, ...args]).trim()
  const layout = join(scratch, 'buildah-oci')
  let from = 'scratch'
  for (const [i, script] of [LAYER1, LAYER2, LAYER3].entries()) {
    const container = buildah('from', '--name', `c${i}`, from)
    const root = buildah('mount', container)
    run('sh', ['-c', script], { cwd: root })
    buildah('umount', container)
    buildah('commit', '-q', '--format', 'oci', container, `localhost/odd:${i}`)
    from = `localhost/odd:${i}`
  }
  buildah('push', '-q', from, `oci:${layout}:odd`)
  const store = Store.open(join(scratch, 'store-b'))
  const [image] = await loadImages(store, layout, { name: 'test/odd:1' })
  t.equal(image?.layers.length, 3)
  sameAsUnpacked(t, store, image as StoredImage, oracle(`${layout}:odd`, 'bundle-b'), 320)
  await sameMounted(t, store, image as StoredImage)
  // The comparison would see it: one mode changed in the oracle.
  const [lower] = imageLowers(store, image as StoredImage)
  const layer = openIndex(bytesOf(lower?.path ?? ''), bytesOf(store.objects))
  chmodSync(join(scratch, 'bundle-b/rootfs/kept'), 0o611)
  t.same(
    compareWithDirectory(layer, join(scratch, 'bundle-b/rootfs')).differences.map(d => `${d.path} ${d.what}`),
    ['/kept mode'],
  )
  layer.close()
  t.same((await fsck(store)).problems, [])
})

/** The same comparison through a mount: what programs see is what the index says, and so what umoci unpacked. */
async function sameMounted(t: Test, store: Store, image: StoredImage): Promise<void> {
  if (!existsSync('/dev/fuse')) return t.comment('not mounted: no /dev/fuse')
  const mountpoint = mkdtempSync(join(scratch, 'mnt-'))
  const server = await MountServer.start({ lowers: imageLowers(store, image), readOnly: true }, mountpoint)
  const [lower] = imageLowers(store, image)
  const layer = openIndex(bytesOf(lower?.path ?? ''), bytesOf(store.objects))
  try {
    const { differences, entries } = compareWithDirectory(layer, mountpoint)
    t.same(differences.slice(0, 20), [])
    t.ok(entries > 300, `${entries} entries compared through the mount`)
  } finally {
    layer.close()
    server.unmount()
  }
}

t.test('a Debian root made by mmdebstrap', { skip: missing('mmdebstrap', 'umoci', 'skopeo') }, async t => {
  // Made once: bootstrapping takes longer than all the rest and needs a mirror.
  const cache =
    process.env['LAMINA_TEST_CACHE'] ?? join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'lamina-test')
  const tar = join(cache, 'debian-extract.tar')
  if (!existsSync(tar)) {
    mkdirSync(cache, { recursive: true })
    const made = join(scratch, 'debian.tar')
    try {
      run('mmdebstrap', [
        '--quiet',
        '--variant=extract',
        '--include=base-files,base-passwd,dash,coreutils,sudo',
        'bookworm',
        made,
      ])
    } catch (error) {
      return t.comment(`skipped: no Debian mirror (${(error as Error).message.slice(0, 200)})`)
    }
    copyFileSync(made, `${tar}.part`)
    renameSync(`${tar}.part`, tar)
  }
  const store = Store.open(join(scratch, 'store-d'))
  const image = await importRootfs(store, createReadStream(tar), { name: 'test/debian:12', changes: ['CMD ["bash"]'] })
  const layout = join(scratch, 'debian-oci')
  run('skopeo', ['copy', '-q', `oci:${store.root}:docker.io/test/debian:12`, `oci:${layout}:d`])
  sameAsUnpacked(t, store, image, oracle(`${layout}:d`, 'bundle-d'), 1000)
  await sameMounted(t, store, image)
})

t.test('an image made by umoci', { skip: missing('umoci', 'skopeo', 'setfattr') }, async t => {
  const layout = join(scratch, 'umoci-oci')
  run('umoci', ['init', '--layout', layout])
  run('umoci', ['new', '--image', `${layout}:odd`])
  for (const [i, script] of [LAYER1, LAYER2, LAYER3].entries()) {
    const bundle = join(scratch, `u${i}`)
    run('umoci', ['unpack', '--image', `${layout}:odd`, bundle])
    run('sh', ['-c', script], { cwd: join(bundle, 'rootfs') })
    run('umoci', ['repack', '--image', `${layout}:odd`, bundle])
  }
  const store = Store.open(join(scratch, 'store-u'))
  const [image] = await loadImages(store, layout, { name: 'test/odd:1' })
  sameAsUnpacked(t, store, image as StoredImage, oracle(`${layout}:odd`, 'bundle-u'), 320)

  await t.test('skopeo reads the store, and what save wrote', async t => {
    const name = 'docker.io/test/odd:1'
    const raw = run('skopeo', ['inspect', '--raw', `oci:${store.root}:${name}`])
    t.same((JSON.parse(raw) as { layers: unknown[] }).layers.length, 3)
    for (const [format, transport] of [
      ['oci', 'oci-archive'],
      ['docker', 'docker-archive'],
    ] as const) {
      const file = join(scratch, `saved-${format}.tar`)
      const parts: Buffer[] = []
      for await (const chunk of saveImages(store, ['test/odd:1'], format)) parts.push(chunk)
      writeFileSync(file, Buffer.concat(parts))
      const copy = join(scratch, `copy-${format}`)
      run('skopeo', ['copy', '-q', `${transport}:${file}`, `oci:${copy}:odd`])
      t.ok(existsSync(copy), `${transport} is taken`)
      const again = Store.open(join(scratch, `store-${format}`))
      const [loaded] = await loadImages(again, file)
      t.same(loaded?.names, [name])
      t.equal(loaded?.id, image?.id, 'the same image ID')
      t.same(
        loaded?.layers.map(l => l.diffID),
        image?.layers.map(l => l.diffID),
      )
      if (format === 'oci') t.equal(loaded?.digest, image?.digest, 'byte for byte')
    }
  })
})

t.test('a registry on loopback', { skip: missing('docker-registry', 'skopeo', 'umoci') }, async t => {
  const registry = await startRegistry(join(scratch, 'registry'))
  t.teardown(async () => {
    closeConnections()
    await registry.stop()
  })
  const layout = join(scratch, 'reg-oci')
  run('umoci', ['init', '--layout', layout])
  run('umoci', ['new', '--image', `${layout}:r`])
  for (let i = 0; i < 3; i++) {
    const bundle = join(scratch, `r${i}`)
    run('umoci', ['unpack', '--image', `${layout}:r`, bundle])
    mkdirSync(join(bundle, `rootfs/d${i}`))
    writeFileSync(join(bundle, `rootfs/d${i}/f`), `layer ${i}\n`.repeat(1000))
    run('umoci', ['repack', '--image', `${layout}:r`, bundle])
  }
  const store = Store.open(join(scratch, 'store-r'))
  const [image] = await loadImages(store, layout, { name: `${registry.host}/a/one:1` })
  const states: string[] = []
  const events = { layer: (_: unknown, __: unknown, state: string) => void states.push(state) }
  const digest = await pushImage(store, `${registry.host}/a/one:1`, undefined, { events })
  t.same(states, ['pushed', 'pushed', 'pushed'])
  states.length = 0
  await pushImage(store, `${registry.host}/a/one:1`, undefined, { events })
  t.same(states, ['exists', 'exists', 'exists'], 'what is there is not sent again')
  states.length = 0
  await tagImage(store, `${registry.host}/a/one:1`, `${registry.host}/b/two:1`)
  await pushImage(store, `${registry.host}/b/two:1`, undefined, { events })
  t.same(states, ['mounted', 'mounted', 'mounted'], 'another repository takes them over')

  run('skopeo', [
    'copy',
    '-q',
    '--src-tls-verify=false',
    `docker://${registry.host}/b/two:1`,
    `oci:${scratch}/skopeo:x`,
  ])
  t.equal(
    (JSON.parse(run('skopeo', ['inspect', `oci:${scratch}/skopeo:x`])) as { Digest: string }).Digest,
    digest,
    'skopeo pulls the same manifest',
  )

  const other = Store.open(join(scratch, 'store-r2'))
  const pulled = await pullImage(other, `${registry.host}/b/two:1`)
  t.equal(pulled.digest, digest)
  t.equal(pulled.image.id, image?.id)
  t.notOk(pulled.upToDate)
  t.ok((await pullImage(other, `${registry.host}/b/two:1`)).upToDate)
  t.equal(resolveImage(other, `${registry.host}/b/two@${digest}`).id, image?.id)
  t.same((await fsck(other)).problems, [])

  run('skopeo', [
    'copy',
    '-q',
    '--format',
    'v2s2',
    '--dest-tls-verify=false',
    `oci:${layout}:r`,
    `docker://${registry.host}/docker:2`,
  ])
  const schema2 = await pullImage(other, `${registry.host}/docker:2`)
  t.same(
    schema2.image.layers.map(l => l.digest),
    image?.layers.map(l => l.digest),
    'a Docker manifest: the same layers',
  )
  t.equal(schema2.image.repoDigests[0], `${registry.host}/docker@${schema2.digest}`)
  await t.rejects(pullImage(other, `${registry.host}/none:1`), { code: 'REGISTRY_NOT_FOUND' })
})
