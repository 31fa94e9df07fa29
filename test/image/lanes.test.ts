/** Layers that are large enough for worker threads: all of them, from files and from a registry, and when one is bad. */
import t from 'tap'
import { createHash } from 'node:crypto'
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { hexOf } from '../../lib/digest.js'
import { fsck } from '../../lib/image/fsck.js'
import { closeConnections } from '../../lib/image/http.js'
import { listImages } from '../../lib/image/images.js'
import { loadImages } from '../../lib/image/load.js'
import { pullImage } from '../../lib/image/pull.js'
import { Store } from '../../lib/image/store.js'
import { type MadeImage, makeImage, ociArchive } from './made.js'

t.setTimeout(600_000)

const scratch = mkdtempSync(join(tmpdir(), 'lamina-lanes-'))
process.env['DOCKER_CONFIG'] = scratch
t.teardown(() => {
  closeConnections()
  rmSync(scratch, { recursive: true, force: true })
})
const noise = (seed: string): Buffer =>
  Buffer.concat(Array.from({ length: 5 * 2 ** 14 }, (_, i) => createHash('sha512').update(`${seed} ${i}`).digest()))
const image = makeImage(
  ['one', 'two', 'three'].map(seed => [
    { name: seed, data: noise(seed) },
    { name: 'all', data: 'x' },
  ]),
)
t.ok(
  image.layers.every(l => l.blob.length > 4 * 2 ** 20),
  'each is worth a worker',
)
/** The second layer with a byte changed near its end: gzip or the digest tells. */
const bad = Buffer.from(image.layers[1]?.blob as Buffer)
bad[bad.length - 6] = (bad[bad.length - 6] as number) ^ 1

let stores = 0
const newStore = (): Store => Store.open(join(scratch, `store${stores++}`))
const layers = (store: Store): number => readdirSync(join(store.root, 'layers')).length

t.test('from an archive', async t => {
  const file = join(scratch, 'image.tar')
  const store = newStore()
  writeFileSync(file, ociArchive(image, 'test/lanes:1'))
  const [loaded] = await loadImages(store, file)
  t.equal(loaded?.digest, image.digest)
  t.equal(layers(store), 3)
  t.same(readdirSync(store.tmp), [])
  t.same((await fsck(store)).problems, [])

  const other = newStore()
  const name = `blobs/sha256/${hexOf(image.layers[1]?.digest ?? image.digest)}`
  writeFileSync(
    file,
    ociArchive(image, 'test/lanes:1', files => files.set(name, bad)),
  )
  await t.rejects(loadImages(other, file), { code: /^(BLOB_CORRUPT|DIGEST_MISMATCH)$/ })
  t.same(listImages(other), [])
  t.same(readdirSync(other.tmp), [])
  t.same((await fsck(other)).problems, [], 'what was complete may be there, and is sound')
})

t.test('from a registry', async t => {
  let damaged = true
  const asked: string[] = []
  const server = createServer((req, res) => {
    const name = /(?:manifests|blobs)\/(.+)$/.exec(req.url ?? '')?.[1]
    let bytes = name === '1' ? image.manifest : image.blobs.get(name as MadeImage['digest'])
    if (name === image.layers[1]?.digest && damaged) bytes = bad
    if (req.url === '/v2/') res.end('{}')
    else if (bytes === undefined) res.writeHead(404).end()
    else {
      asked.push(name ?? '')
      res.writeHead(200, { 'content-length': bytes.length }).end(bytes)
    }
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', () => resolve()))
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  const place = `127.0.0.1:${(server.address() as { port: number }).port}/lanes:1`
  const store = newStore()
  await t.rejects(pullImage(store, place), { code: /^(BLOB_CORRUPT|DIGEST_MISMATCH)$/ })
  t.same(listImages(store), [])
  t.same((await fsck(store)).problems, [])
  const kept = layers(store)
  t.ok(kept < 3, `${kept} layers were complete`)
  asked.length = 0
  damaged = false
  const { image: pulled } = await pullImage(store, place)
  t.equal(pulled.digest, image.digest)
  const blobs = image.layers.filter(l => asked.includes(l.digest))
  t.equal(blobs.length, 3 - kept, 'what was complete is not fetched again')
  t.same((await fsck(store)).problems, [])
})
