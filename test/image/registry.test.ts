import t, { type Test } from 'tap'
import { createHash } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync, readFileSync, statSync } from 'node:fs'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { eraseCredential, findCredential, storeCredential } from '../../lib/image/auth.js'
import { fsck } from '../../lib/image/fsck.js'
import { closeConnections } from '../../lib/image/http.js'
import { listImages } from '../../lib/image/images.js'
import { pullImage, remoteTags } from '../../lib/image/pull.js'
import { pushImage } from '../../lib/image/push.js'
import { loadImages } from '../../lib/image/load.js'
import { Store } from '../../lib/image/store.js'
import { lamina } from '../cli/lamina.js'
import { type MadeImage, makeImage, ociArchive } from './made.js'

t.setTimeout(900_000)

const scratch = mkdtempSync(join(tmpdir(), 'lamina-registry-'))
process.env['DOCKER_CONFIG'] = join(scratch, 'docker')
t.teardown(() => {
  closeConnections()
  rmSync(scratch, { recursive: true, force: true })
})

type Answer = (req: IncomingMessage, res: ServerResponse) => boolean | void

/** A registry that serves `image` as test:1, and misbehaves where `hook` answers true. */
async function serve(t: Test, image: MadeImage, hook: Answer = () => false): Promise<{ host: string; log: string[] }> {
  const log: string[] = []
  const server = createServer((req, res) => {
    log.push(`${req.method} ${req.url}`)
    if (hook(req, res) === true) return
    const path = req.url ?? ''
    if (path === '/v2/') return void res.end('{}')
    const wanted = /\/(manifests|blobs)\/(.+)$/.exec(path)
    const bytes =
      wanted?.[1] === 'manifests' && wanted[2] === '1'
        ? image.manifest
        : image.blobs.get((wanted?.[2] ?? '') as MadeImage['digest'])
    if (bytes === undefined) return void res.writeHead(404).end('{"errors":[{"message":"no such thing"}]}')
    const type = wanted?.[1] === 'manifests' ? { 'content-type': 'application/vnd.oci.image.manifest.v1+json' } : {}
    const range = /^bytes=(\d+)-$/.exec(req.headers.range ?? '')
    if (range !== null) {
      const rest = bytes.subarray(Number(range[1]))
      return void res.writeHead(206, { 'content-length': rest.length }).end(rest)
    }
    res.writeHead(200, { 'content-length': bytes.length, ...type }).end(bytes)
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', () => resolve()))
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  return { host: `127.0.0.1:${(server.address() as { port: number }).port}`, log }
}

let stores = 0
const newStore = (): Store => Store.open(join(scratch, `store${stores++}`))
/** 256 KiB that gzip cannot make smaller, the same in every run. */
const noise = Buffer.concat(Array.from({ length: 4096 }, (_, i) => createHash('sha512').update(`noise ${i}`).digest()))
const image = makeImage([[{ name: 'a', data: 'base' }], [{ name: 'b', data: noise }]])
const blobOf = (i: number): string => `/blobs/${image.layers[i]?.digest}`

/** Pulling ends with `code`, and the store is as before. */
async function refused(
  t: Test,
  host: string,
  code: string,
  message?: RegExp,
  options: { platform?: string } = {},
): Promise<void> {
  const store = newStore()
  await t.rejects(pullImage(store, `${host}/test:1`, options), { code, ...(message ? { message } : {}) })
  const { platform } = options
  const said = await lamina(
    '--root',
    store.root,
    'pull',
    '-q',
    ...(platform ? ['--platform', platform] : []),
    `${host}/test:1`,
  )
  // Before the message there may be lines that say what is tried again.
  t.match(said, { code: 1, stdout: '', stderr: /(^|\n)lamina: .+\n$/ }, 'and so says the command')
  t.same(listImages(store), [], 'no image appeared')
  t.same((await fsck(store)).problems, [])
}

t.test('a pull resumes where the connection died', async t => {
  const big = image.layers[1]?.blob as Buffer
  let died = 0
  const { host, log } = await serve(t, image, (req, res) => {
    if (!req.url?.endsWith(blobOf(1)) || died++ >= 2) return false
    const from = Number(/bytes=(\d+)-/.exec(req.headers.range ?? '')?.[1] ?? 0)
    res.writeHead(from > 0 ? 206 : 200, { 'content-length': big.length - from })
    res.write(big.subarray(from, from + 20000), () => res.destroy())
    return true
  })
  const store = newStore()
  const { image: pulled } = await pullImage(store, `${host}/test:1`)
  t.equal(pulled.layers.length, 2)
  t.equal(log.filter(l => l.includes(blobOf(1))).length, 3)
  t.same((await fsck(store)).problems, [])
})

t.test('a registry that ignores Range is read again from the start', async t => {
  let first = true
  const big = image.layers[1]?.blob as Buffer
  const { host } = await serve(t, image, (req, res) => {
    if (!req.url?.endsWith(blobOf(1))) return false
    res.writeHead(200, { 'content-length': big.length })
    if (first) res.write(big.subarray(0, 30000), () => res.destroy())
    else res.end(big)
    first = false
    return true
  })
  await pullImage(newStore(), `${host}/test:1`)
})

t.test('passing failures are tried again: 429 with Retry-After, 500, 503', async t => {
  const statuses = [429, 503, 500]
  const { host } = await serve(t, image, (_req, res) => {
    const status = _req.url?.includes('/manifests/') ? statuses.shift() : undefined
    if (status === undefined) return false
    res.writeHead(status, status === 429 ? { 'retry-after': '0' } : {}).end()
    return true
  })
  const waits: string[] = []
  await pullImage(newStore(), `${host}/test:1`, { events: { retry: m => waits.push(m) } })
  // A kept connection that the server closed just then is tried again too, and is not what this is about.
  t.same(
    waits.map(wait => /status (\d+); trying again/.exec(wait)?.[1]).filter(status => status !== undefined),
    ['429', '503', '500'],
  )
})

t.test('lies and refusals end with a clear error and an unchanged store', async t => {
  const answer =
    (status: number, body = ''): Answer =>
    (req, res) => {
      if (!req.url?.includes('/manifests/')) return false
      res.writeHead(status).end(body)
      return true
    }
  const cases: [string, Answer, string, RegExp][] = [
    ['401 without a challenge', answer(401), 'REGISTRY_UNAUTHORIZED', /login/],
    ['403', answer(403, '{"errors":[{"code":"DENIED","message":"not yours"}]}'), 'REGISTRY_DENIED', /not yours/],
    ['404', answer(404), 'REGISTRY_NOT_FOUND', /not found/],
    [
      'too many requests, for ever',
      (req, res) =>
        req.url?.includes('/manifests/') ? (res.writeHead(429, { 'retry-after': '0' }).end(), true) : false,
      'REGISTRY_LIMIT',
      /too many/,
    ],
    ['500, for ever', answer(500), 'REGISTRY_ERROR', /answered 500/],
    ['a teapot', answer(418), 'REGISTRY_ERROR', /418/],
    ['a manifest that is no JSON', answer(200, '<html>'), 'MANIFEST_INVALID', /not JSON/],
    ['a manifest bomb', answer(200, ' '.repeat(4 * 1024 * 1024 + 1)), 'MANIFEST_TOO_LARGE', /4194304/],
    [
      'endless redirects',
      (req, res) => (req.url === '/v2/' ? false : (res.writeHead(302, { location: req.url ?? '' }).end(), true)),
      'REGISTRY_ERROR',
      /redirects/,
    ],
    [
      'a redirect to a file',
      (req, res) => (req.url === '/v2/' ? false : (res.writeHead(302, { location: 'file:///etc/passwd' }).end(), true)),
      'REGISTRY_ERROR',
      /redirected/,
    ],
    [
      'a blob of other content',
      (req, res) => {
        if (!req.url?.endsWith(blobOf(0))) return false
        const wrong = Buffer.from(image.layers[0]?.blob as Buffer)
        wrong[9] = (wrong[9] as number) ^ 1 // The gzip header's OS byte: it inflates as before.
        res.end(wrong)
        return true
      },
      'DIGEST_MISMATCH',
      /its content has/,
    ],
    [
      'a blob that is longer than announced',
      (req, res) => {
        if (!req.url?.endsWith(blobOf(0))) return false
        res.write(image.layers[0]?.blob)
        res.end('more')
        return true
      },
      'SIZE_MISMATCH',
      /more than/,
    ],
    [
      'a blob whose length the registry contradicts',
      (req, res) =>
        req.url?.endsWith(blobOf(0)) ? (res.writeHead(200, { 'content-length': 5 }).end('short'), true) : false,
      'SIZE_MISMATCH',
      /manifest says/,
    ],
    [
      'a config of other content',
      (req, res) =>
        req.url?.endsWith(image.config)
          ? (res.end(Buffer.alloc(image.blobs.get(image.config)?.length ?? 0, ' ')), true)
          : false,
      'DIGEST_MISMATCH',
      /registry sent/,
    ],
  ]
  for (const [title, hook, code, message] of cases)
    await t.test(title, async t => refused(t, (await serve(t, image, hook)).host, code, message))
  await t.test('a registry that dies for good in the middle of a blob', async t => {
    const { host } = await serve(t, image, (req, res) => {
      if (!req.url?.endsWith(blobOf(1))) return false
      res.writeHead(200, { 'content-length': image.layers[1]?.blob.length ?? 0 })
      res.flushHeaders()
      setTimeout(() => res.destroy(), 1)
      return true
    })
    await refused(t, host, 'REGISTRY_UNREACHABLE')
  })
  await t.test('nobody there', t => refused(t, '127.0.0.1:9', 'REGISTRY_UNREACHABLE'))
})

t.test('platforms: the index’s entry for this machine, for another, and none', async t => {
  const index = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: 'application/vnd.oci.image.index.v1+json',
      manifests: [
        {
          mediaType: 'application/vnd.oci.image.manifest.v1+json',
          digest: image.digest,
          size: image.manifest.length,
          platform: { os: 'linux', architecture: 'arm64', variant: 'v8' },
        },
      ],
    }),
  )
  const { host } = await serve(t, image, (req, res) => {
    if (!req.url?.endsWith('/manifests/1')) return false
    res.writeHead(200, { 'content-type': 'application/vnd.oci.image.index.v1+json' }).end(index)
    return true
  })
  t.equal((await pullImage(newStore(), `${host}/test:1`, { platform: 'linux/arm64' })).image.digest, image.digest)
  await refused(t, host, 'PLATFORM_MISSING', /linux\/arm64\/v8/, { platform: 'linux/s390x' })
})

t.test('tokens: the challenge is answered with the credential, and only where it belongs', async t => {
  const password = 'secret: with colon'
  const seen: (string | undefined)[] = []
  const files = await serve(t, image, (req, res) => {
    seen.push(req.headers.authorization)
    const bytes = image.blobs.get((req.url?.slice(1) ?? '') as MadeImage['digest'])
    if (bytes !== undefined) res.end(bytes)
    return bytes !== undefined
  })
  let tokens = 0
  const { host } = await serve(t, image, (req, res) => {
    const url = new URL(req.url ?? '', 'http://x')
    if (url.pathname === '/token') {
      const expected = `Basic ${Buffer.from(`me:${password}`).toString('base64')}`
      if (req.headers.authorization !== expected) return (res.writeHead(401).end(), true)
      tokens++
      return (res.end(JSON.stringify({ token: `t-${url.searchParams.get('scope')}` })), true)
    }
    if (!req.headers.authorization?.startsWith('Bearer t-repository:test:')) {
      if (req.url === '/v2/' && req.headers.authorization === undefined) return false
      res.writeHead(401, {
        'www-authenticate': `Bearer realm="http://${req.headers.host}/token",service="x",scope="repository:test:pull"`,
      })
      return (res.end(), true)
    }
    const blob = /\/blobs\/(.+)$/.exec(req.url ?? '')?.[1]
    if (blob === undefined) return false
    res.writeHead(307, { location: `http://${files.host}/${blob}` }).end()
    return true
  })
  await t.rejects(pullImage(newStore(), `${host}/test:1`), { code: 'REGISTRY_UNAUTHORIZED' })
  await storeCredential(host, { username: 'me', password })
  t.equal(statSync(join(scratch, 'docker/config.json')).mode & 0o777, 0o600)
  await pullImage(newStore(), `${host}/test:1`)
  t.equal(tokens, 1, 'one token for one scope')
  t.same(new Set(seen), new Set([undefined]), 'another host never sees it')
  t.ok(await eraseCredential(host))
  t.equal(await findCredential(host), undefined)
})

t.test('a push sends manifests and blobs as they are', async t => {
  const uploads = new Map<string, Buffer>()
  const { host } = await serve(t, image, (req, res) => {
    const url = new URL(req.url ?? '', 'http://x')
    if (req.method === 'HEAD') return (res.writeHead(404).end(), true)
    if (req.method === 'POST') return (res.writeHead(202, { location: '/upload?state=1' }).end(), true)
    if (req.method !== 'PUT') return false
    const parts: Buffer[] = []
    req.on('data', (c: Buffer) => parts.push(c))
    req.on('end', () => {
      uploads.set(url.searchParams.get('digest') ?? url.pathname, Buffer.concat(parts))
      res.writeHead(201).end()
    })
    return true
  })
  const store = newStore()
  const file = join(scratch, 'push.tar')
  writeFileSync(file, ociArchive(image, `${host}/test:1`))
  await loadImages(store, file)
  await pushImage(store, `${host}/test:1`)
  for (const layer of image.layers) t.ok(uploads.get(layer.digest)?.equals(layer.blob))
  t.ok(uploads.get('/v2/test/manifests/1')?.equals(image.manifest))
  t.ok(uploads.get(image.config))
  t.ok(readFileSync(file).length > 0)
})

/** Answers tags/list as a registry with two on a page does; `next` makes the Link header of a page that is not the last. */
function tagPages(tags: readonly unknown[], next: (host: string, after: string) => string): Answer {
  return (req, res) => {
    const url = new URL(req.url ?? '', 'http://x')
    if (!url.pathname.endsWith('/tags/list')) return false
    const from = tags.indexOf(url.searchParams.get('last')) + 1
    const page = tags.slice(from, from + 2)
    const more = from + 2 < tags.length
    const link = more ? { link: next(req.headers.host ?? '', String(page.at(-1))) } : {}
    res.writeHead(200, link).end(JSON.stringify({ name: 'test', tags: page }))
    return true
  }
}

t.test('all tags: every page is read, each image pulled, and what one lacks is said', async t => {
  const forms: ((host: string, after: string) => string)[] = [
    (_, after) => `</v2/test/tags/list?n=2&last=${after}>; rel="next"`,
    (host, after) => `<http://${host}/v2/test/tags/list?last=${after}>;rel=next`,
    (host, after) => `<https://${host}/v2/test/tags/list?last=${after}>; rel="next"`,
  ]
  const tags = ['1', 'a', 'b', 'c', 'gone']
  for (const form of forms) {
    const { host, log } = await serve(t, image, tagPages(tags, form))
    t.same(
      await remoteTags(`${host}/test`),
      tags.map(tag => `${host}/test:${tag}`),
    )
    t.equal(log.filter(line => line.includes('tags/list')).length, 3, log.join('\n'))
  }
  const { host } = await serve(t, image, (req, res) => {
    // All but the last are the same image.
    if (/\/manifests\/[abc]$/.test(req.url ?? '')) return (res.end(image.manifest), true)
    return tagPages(tags, forms[0] as (typeof forms)[0])(req, res)
  })
  const store = newStore()
  const said = await lamina('--root', store.root, 'pull', '-q', '--all-tags', `${host}/test`)
  t.match(said, { code: 1, stderr: /^lamina: pull .*test:gone: not found.*\n$/ })
  t.equal(said.stdout, `${image.config}\n`.repeat(4))
  t.same(
    listImages(store).flatMap(i => i.names),
    ['1', 'a', 'b', 'c'].map(tag => `${host}/test:${tag}`),
  )
  t.match(await lamina('pull', '-a', `${host}/test:1`), { code: 1, stderr: /none can be given/ })
  const empty = await serve(
    t,
    image,
    tagPages([], () => ''),
  )
  t.match(await lamina('pull', '-a', `${empty.host}/test`), { code: 1, stderr: /has no tag/ })
})

t.test('all tags: what a hostile registry answers', async t => {
  const elsewhere = await serve(t, image)
  const own = (_: string, after: string): string => `</v2/test/tags/list?last=${after}>; rel="next"`
  const always: Answer = (req, res) => {
    if (!req.url?.includes('/tags/list')) return false
    res.writeHead(200, { link: `<${req.url.split('?')[0]}?n=${Math.random()}>; rel="next"` }).end('{"tags":["1"]}')
    return true
  }
  const says =
    (body: string): Answer =>
    (req, res) =>
      req.url?.includes('/tags/list') ? (res.end(body), true) : false
  const cases: [string, Answer, string, RegExp][] = [
    [
      'a next page on another host',
      tagPages(['1', '2', '3'], () => `<http://${elsewhere.host}/v2/test/tags/list>; rel="next"`),
      'REGISTRY_ERROR',
      /another host/,
    ],
    [
      'a next page of another protocol',
      tagPages(['1', '2', '3'], () => '<file:///x>; rel="next"'),
      'REGISTRY_ERROR',
      /another host/,
    ],
    ['pages without end', always, 'REGISTRY_ERROR', /no end after/],
    ['a tag that is none', tagPages(['1', '../../x'], own), 'REGISTRY_ERROR', /is no tag/],
    ['a tag that is no text', tagPages(['1', { a: 1 }], own), 'REGISTRY_ERROR', /is no tag/],
    ['no list', says('{"tags":"1"}'), 'REGISTRY_ERROR', /no list of tags/],
    ['no JSON', says('<html>'), 'REGISTRY_ERROR', /no list of tags/],
    ['a bomb', says(' '.repeat(4 * 1024 * 1024 + 1)), 'MANIFEST_TOO_LARGE', /4194304/],
  ]
  for (const [title, hook, code, message] of cases) {
    const { host } = await serve(t, image, hook)
    await t.rejects(remoteTags(`${host}/test`), { code, message }, title)
  }
  t.same(elsewhere.log, [], 'nobody else is asked')
})
