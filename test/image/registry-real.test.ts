/** A real docker-registry with what keeps people out of it: passwords, tokens, certificates. */
import t, { type Test } from 'tap'
import { createPrivateKey, createSign, X509Certificate } from 'node:crypto'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { main } from '../../lib/cli/main.js'
import { missing, run, startRegistry } from './tools.js'
import { makeImage, ociArchive } from './made.js'

t.setTimeout(600_000)

const scratch = mkdtempSync(join(tmpdir(), 'lamina-registry-real-'))
t.teardown(() => rmSync(scratch, { recursive: true, force: true }))
process.env['DOCKER_CONFIG'] = join(scratch, 'docker')
process.env['XDG_CONFIG_HOME'] = join(scratch, 'config')
const archive = join(scratch, 'image.tar')
writeFileSync(archive, ociArchive(makeImage([[{ name: 'a', data: 'base' }]]), 'test/image:1'))
const root = join(scratch, 'store')

interface Said {
  readonly code: number
  readonly text: string
}

/** Runs `lamina` with this on its standard input. */
async function said(input: string, ...args: string[]): Promise<Said> {
  let text = ''
  const sink = { write: (chunk: string | Uint8Array) => ((text += String(chunk)), true) }
  const stdin = Readable.from([Buffer.from(input)]) as unknown as NodeJS.ReadStream
  const code = await main(['--root', root, ...args], { stdin, stdout: sink, stderr: sink })
  return { code, text }
}
const lamina = (...args: string[]): Promise<Said> => said('', ...args)

/** Pushes the image to `target`, and pulls it into a store of its own. Throws when either fails. */
async function there(target: string, ...options: string[]): Promise<void> {
  for (const args of [
    ['load', '-q', '-i', archive],
    ['push', '-q', ...options, 'test/image:1', target],
    ['--root', `${root}-${Math.random()}`, 'pull', '-q', ...options, target],
  ]) {
    const { code, text } = await lamina(...args)
    if (code !== 0) throw new Error(text)
  }
}

t.test('user name and password (htpasswd, Basic)', { skip: missing('docker-registry') }, async t => {
  const passwords = join(scratch, 'htpasswd')
  // bcrypt of "right horse".
  writeFileSync(passwords, 'me:$2y$05$abcdefghijklmnopqrstuuB05BVy0V7KomGh8K56xgiHLq3Wkqh46\n')
  const auth = `auth:\n  htpasswd:\n    realm: test\n    path: ${passwords}\n`
  const registry = await startRegistry(join(scratch, 'basic'), { auth })
  t.teardown(() => registry.stop())
  const image = `${registry.host}/basic/image:1`
  t.match(await lamina('pull', image), { code: 1, text: new RegExp(`authentication required.*login ${registry.host}`) })
  t.match(await said('wrong horse\n', 'login', '-u', 'me', '--password-stdin', registry.host), {
    code: 1,
    text: /does not take this user name and password/,
  })
  t.match(await lamina('logout', registry.host), { text: /Not logged in/ }, 'a refused password is not kept')
  t.match(await said('right horse\n', 'login', '-u', 'me', '--password-stdin', registry.host), {
    code: 0,
    text: /Login Succeeded/,
  })
  await there(image)
  t.match(await lamina('logout', registry.host), { code: 0, text: /Removing/ })
  t.match(await lamina('push', '-q', 'test/image:1', image), { code: 1, text: /authentication required/ })
})

t.test('all tags, out and in again', { skip: missing('docker-registry') }, async t => {
  const registry = await startRegistry(join(scratch, 'tags'))
  t.teardown(() => registry.stop())
  const name = `${registry.host}/tags/image`
  const tags = ['1', '2', 'latest']
  await lamina('load', '-q', '-i', archive)
  for (const tag of tags) await lamina('tag', 'test/image:1', `${name}:${tag}`)
  await lamina('tag', 'test/image:1', `${name}-other:1`)
  t.match(await lamina('push', '-a', `${name}:1`), { code: 1, text: /none can be given/ })
  t.match(await lamina('push', '-a', name, 'elsewhere/x'), { code: 2, text: /no TARGET/ })
  t.match(await lamina('push', '-a', `${registry.host}/none`), { code: 1, text: /no image here has that name/ })
  const pushed = await lamina('push', '-q', '-a', name)
  t.equal(pushed.code, 0, pushed.text)
  t.same(
    [...pushed.text.matchAll(/^(\S+): digest: /gm)].map(m => m[1]),
    tags,
  )
  const elsewhere = ['--root', `${root}-tags`]
  const pulled = await lamina(...elsewhere, 'pull', '-a', name)
  t.equal(pulled.code, 0, pulled.text)
  const listed = await lamina(...elsewhere, 'image', 'ls', '--format', '{{.Repository}}:{{.Tag}}')
  t.same(listed.text.trim().split('\n').sort(), tags.map(tag => `${name}:${tag}`).sort(), 'and no other image')
})

t.test('certificates', { skip: missing('docker-registry', 'openssl') }, async t => {
  const tls = certificate('tls')
  const registry = await startRegistry(join(scratch, 'tls-registry'), { tls })
  t.teardown(() => registry.stop())
  const image = `${registry.host}/tls/image:1`
  const refused = async (t: Test, title: string): Promise<void> => {
    const { code, text } = await lamina('pull', image)
    t.equal(code, 1, title)
    t.match(
      text,
      /certificate is not trusted; its authority may be put into certs\.d\/.*\/ca\.crt, or --tls-verify=false/,
    )
    t.match((await lamina('login', '-u', 'x', '-p', 'y', registry.host)).text, /not trusted/)
  }
  await refused(t, 'one that nobody vouches for is refused')
  await there(image, '--tls-verify=false')
  const trust = (host: string, file: string): void => {
    const directory = join(scratch, 'config/containers/certs.d', host)
    mkdirSync(directory, { recursive: true })
    writeFileSync(join(directory, 'ca.crt'), readFileSync(file))
  }
  trust('other.example', tls.certificate)
  await refused(t, 'what vouches for another host does not for this one')
  trust(registry.host, certificate('another').certificate)
  await refused(t, 'another authority')
  trust(registry.host, tls.certificate)
  await there(image)
  t.equal((await lamina('login', '-u', 'x', '-p', 'y', registry.host)).code, 0)
})

/** A certificate for 127.0.0.1 that vouches for itself. */
function certificate(name: string): { certificate: string; key: string } {
  const files = { certificate: join(scratch, `${name}.crt`), key: join(scratch, `${name}.key`) }
  const subject = ['-subj', `/CN=${name}`, '-addext', 'subjectAltName=IP:127.0.0.1', '-days', '30']
  const key = ['-newkey', 'rsa:2048', '-nodes', '-keyout', files.key, '-out', files.certificate]
  run('openssl', ['req', '-x509', ...key, ...subject])
  return files
}

t.test('tokens (Bearer)', { skip: missing('docker-registry', 'openssl') }, async t => {
  const signer = certificate('signer')
  const issued: string[] = []
  const tokens = createServer((req, res) => {
    const url = new URL(req.url ?? '', 'http://x')
    if (req.headers.authorization !== `Basic ${Buffer.from('me:pass').toString('base64')}`)
      return void res.writeHead(401).end()
    const scopes = url.searchParams.getAll('scope')
    issued.push(...scopes)
    res.end(JSON.stringify({ token: token(signer, url.searchParams.get('service') ?? '', scopes) }))
  })
  await new Promise<void>(resolve => tokens.listen(0, '127.0.0.1', () => resolve()))
  t.teardown(() => {
    tokens.closeAllConnections()
    tokens.close()
  })
  const realm = `http://127.0.0.1:${(tokens.address() as { port: number }).port}/token`
  const auth = `auth:\n  token:\n    realm: ${realm}\n    service: test\n    issuer: tester\n    rootcertbundle: ${signer.certificate}\n`
  const registry = await startRegistry(join(scratch, 'bearer'), { auth })
  t.teardown(() => registry.stop())
  const image = `${registry.host}/bearer/image:1`
  t.match(await lamina('pull', image), { code: 1, text: /authentication required/ })
  t.match(await lamina('login', '-u', 'me', '-p', 'wrong', registry.host), { code: 1, text: /does not take/ })
  t.match(await lamina('login', '-u', 'me', '-p', 'pass', registry.host), { code: 0, text: /Login Succeeded/ })
  await there(image)
  t.ok(issued.includes('repository:bearer/image:pull,push'))
  // Another repository of the same registry takes the layer over, for which both must be in the token.
  t.equal((await lamina('tag', 'test/image:1', image)).code, 0)
  t.match(await lamina('push', 'test/image:1', `${registry.host}/bearer/second:1`), {
    code: 0,
    text: /Mounted from another repository/,
  })
  t.ok(issued.includes('repository:bearer/image:pull'))
})

/** A token as docker-registry checks it (JWT, RS256, the certificate in its header). */
function token(signer: { certificate: string; key: string }, audience: string, scopes: string[]): string {
  const access = scopes.map(scope => {
    const [type, name, actions = ''] = scope.split(':')
    return { type, name, actions: actions.split(',') }
  })
  const now = Math.floor(Date.now() / 1000)
  const x5c = [new X509Certificate(readFileSync(signer.certificate)).raw.toString('base64')]
  const claims = { iss: 'tester', sub: 'me', aud: audience, nbf: now - 60, iat: now, exp: now + 600, jti: '1', access }
  const text = [{ typ: 'JWT', alg: 'RS256', x5c }, claims]
    .map(part => Buffer.from(JSON.stringify(part)).toString('base64url'))
    .join('.')
  const signature = createSign('RSA-SHA256')
    .update(text)
    .sign(createPrivateKey(readFileSync(signer.key)), 'base64url')
  return `${text}.${signature}`
}
