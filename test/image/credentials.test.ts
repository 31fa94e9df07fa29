import t, { type Test } from 'tap'
import { spawn, spawnSync } from 'node:child_process'
import { chmodSync, lstatSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { findCredential, storeCredential } from '../../lib/image/auth.js'
import { lamina } from '../cli/lamina.js'

t.setTimeout(300_000)

const scratch = mkdtempSync(join(tmpdir(), 'lamina-credentials-'))
t.teardown(() => rmSync(scratch, { recursive: true, force: true }))
const config = join(scratch, 'config.json')
process.env['DOCKER_CONFIG'] = scratch
process.env['PATH'] = `${scratch}${delimiter}${process.env['PATH']}`

const kept = join(scratch, 'kept.json')
/** A helper as Docker's protocol has it (docker-credential-helpers), which keeps its secrets in a file. */
const HELPER = `#!${process.execPath}
const fs = require('node:fs')
const file = ${JSON.stringify(kept)}
const all = fs.existsSync(file) ? JSON.parse(fs.readFileSync(file, 'utf8')) : {}
const input = fs.readFileSync(0, 'utf8')
const verb = process.argv[2]
if (verb === 'store') all[JSON.parse(input).ServerURL] = JSON.parse(input)
else if (!(input in all)) {
  console.log('credentials not found in native keychain')
  process.exit(1)
} else if (verb === 'get') console.log(JSON.stringify(all[input]))
else if (verb === 'erase') delete all[input]
fs.writeFileSync(file, JSON.stringify(all))
`
function program(name: string, text: string): void {
  writeFileSync(join(scratch, `docker-credential-${name}`), text)
  chmodSync(join(scratch, `docker-credential-${name}`), 0o755)
}
program('fake', HELPER)
const inHelper = (): Record<string, unknown> => JSON.parse(readFileSync(kept, 'utf8')) as Record<string, unknown>
const configure = (content: object): void => writeFileSync(config, JSON.stringify(content))

t.test('credsStore: the helper has the secret, the file has not', async t => {
  configure({ credsStore: 'fake', other: { of: 'Docker' } })
  t.equal(await storeCredential('r.example', { username: 'me', password: 's3cret' }), 'docker-credential-fake')
  t.match(inHelper(), { 'r.example': { Username: 'me', Secret: 's3cret' } })
  t.notMatch(readFileSync(config, 'utf8'), /s3cret|czNjcmV0/)
  t.match(JSON.parse(readFileSync(config, 'utf8')), { credsStore: 'fake', other: { of: 'Docker' } })
  t.same(await findCredential('r.example'), { username: 'me', password: 's3cret' })
  t.equal(await findCredential('other.example'), undefined, 'what the helper does not have')
  t.match(await lamina('logout', 'r.example'), { code: 0, stdout: 'Removing login credentials for r.example\n' })
  t.same(inHelper(), {})
  t.match(await lamina('logout', 'r.example'), { code: 0, stdout: 'Not logged in to r.example\n' })
})

t.test('a credential that only the helper knows of is one to log out from', async t => {
  configure({ credsStore: 'fake' })
  writeFileSync(kept, '{"r.example":{"ServerURL":"r.example","Username":"me","Secret":"x"}}')
  t.match(await lamina('logout', 'r.example'), { code: 0, stdout: 'Removing login credentials for r.example\n' })
  t.same(inHelper(), {})
  t.same(JSON.parse(readFileSync(config, 'utf8')), { credsStore: 'fake' }, 'the file is as it was')
})

t.test('credHelpers: one registry’s own helper; the file for all others', async t => {
  configure({ credHelpers: { 'r.example': 'fake' } })
  await storeCredential('r.example', { username: 'me', password: 'one' })
  t.equal(await storeCredential('s.example:5000', { username: 'me', password: 'a:b' }), config)
  t.same(Object.keys(inHelper()), ['r.example'])
  t.match(JSON.parse(readFileSync(config, 'utf8')), {
    auths: { 'r.example': {}, 's.example:5000': { auth: Buffer.from('me:a:b').toString('base64') } },
  })
  t.same(await findCredential('s.example:5000'), { username: 'me', password: 'a:b' })
  t.equal(lstatSync(config).mode & 0o777, 0o600)
  configure({ credHelpers: { 'https://index.docker.io/v1/': 'fake' } })
  await storeCredential('docker.io', { username: 'hub', password: 'two' })
  t.match(inHelper(), { 'https://index.docker.io/v1/': { Username: 'hub' } }, 'Docker Hub under its old address')
  t.same(await findCredential('docker.io'), { username: 'hub', password: 'two' })
})

t.test('a token in place of a password', async t => {
  configure({ credsStore: 'fake' })
  writeFileSync(kept, '{"r.example":{"ServerURL":"r.example","Username":"<token>","Secret":"refresh"}}')
  t.match(await findCredential('r.example'), { identityToken: 'refresh' })
})

t.test('helpers that fail say so, and no secret is told', async t => {
  program('broken', '#!/bin/sh\necho the keychain is locked\nexit 1\n')
  program('chatty', '#!/bin/sh\necho hunter2 is my password\n')
  for (const [credsStore, message] of [
    ['broken', /docker-credential-broken get: the keychain is locked/],
    ['chatty', /docker-credential-chatty get: its answer is no credential/],
    ['absent', /docker-credential-absent: .*ENOENT/],
    ['../../bin/sh', /not a program name/],
  ] as const) {
    configure({ credsStore })
    const error = await findCredential('r.example').then(
      () => t.fail('was answered'),
      (e: unknown) => e as { code: string; message: string },
    )
    t.match(error, { code: 'CREDENTIALS', message })
    t.notMatch(error, { message: /hunter2/ })
  }
  writeFileSync(config, 'no json')
  await t.rejects(findCredential('r.example'), { code: 'CREDENTIALS', message: /not a JSON object/ })
})

t.test('a config.json that is a symlink stays one', async t => {
  rmSync(config)
  mkdirSync(join(scratch, 'elsewhere'))
  writeFileSync(join(scratch, 'elsewhere/config.json'), '{}')
  symlinkSync('elsewhere/config.json', config)
  await storeCredential('r.example', { username: 'me', password: 'x' })
  t.ok(lstatSync(config).isSymbolicLink())
  t.match(JSON.parse(readFileSync(join(scratch, 'elsewhere/config.json'), 'utf8')), { auths: { 'r.example': {} } })
  rmSync(config)
})

/** A registry that takes me:s3cret only. */
async function registry(t: Test): Promise<string> {
  const server = createServer((req, res) => {
    const good = req.headers.authorization === `Basic ${Buffer.from('me:s3cret').toString('base64')}`
    if (good) res.end('{}')
    else res.writeHead(401, { 'www-authenticate': 'Basic realm="test"' }).end()
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', () => resolve()))
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  return `127.0.0.1:${(server.address() as { port: number }).port}`
}

/** Answers questions on a terminal of its own: `[what to wait for, what to type]`. Prints all that the terminal showed. */
const TYPIST = `
import os, pty, sys, json
answers, command = json.loads(sys.argv[1]), sys.argv[2:]
pid, fd = pty.fork()
if pid == 0: os.execv(command[0], command)
seen = b''
while True:
    try: chunk = os.read(fd, 1000)
    except OSError: break
    if not chunk: break
    seen += chunk
    if answers and answers[0][0].encode() in seen:
        os.write(fd, answers.pop(0)[1].encode())
sys.stdout.buffer.write(seen)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) % 256)
`

const python = spawnSync('python3', ['--version']).status === 0 ? false : 'no python3'

t.test('login asks at a terminal, and does not show the password', { skip: python }, async t => {
  const host = await registry(t)
  const bin = new URL('../../bin/lamina.js', import.meta.url).pathname
  const typed = (answers: [string, string][], ...args: string[]): Promise<{ code: number; seen: string }> =>
    new Promise(resolve => {
      const command = [process.execPath, bin, 'login', ...args, host]
      const child = spawn('python3', ['-c', TYPIST, JSON.stringify(answers), ...command])
      let seen = ''
      child.stdout.on('data', chunk => (seen += String(chunk)))
      child.stderr.on('data', chunk => (seen += String(chunk)))
      child.on('close', code => resolve({ code: code ?? -1, seen }))
    })
  const first = await typed([
    ['Username', 'me\n'],
    ['Password', 's3cret\n'],
  ])
  t.equal(first.code, 0, first.seen)
  t.match(first.seen, /Username for .*: me\r\n/, 'the name is shown')
  t.notMatch(first.seen, /s3cret/, 'the password is not')
  t.match(first.seen, /Login Succeeded/)
  t.same(await findCredential(host), { username: 'me', password: 's3cret' })
  await lamina('logout', host)

  const wrong = await typed([['Password', 'guess\n']], '-u', 'me')
  t.equal(wrong.code, 1)
  t.match(wrong.seen, /does not take this user name and password/)
  t.notMatch(wrong.seen, /guess/)
  t.equal(await findCredential(host), undefined, 'a wrong password is not kept')

  const gone = await typed([['Password', '\x03']], '-u', 'me')
  t.equal(gone.code, 254, 'Ctrl-C ends it by the signal (-2)')
  const empty = await typed([['Password', '\x04']], '-u', 'me')
  t.equal(empty.code, 2)
})

t.test('login without a terminal says what to do', async t => {
  const stdin = { ...process.stdin, isTTY: false }
  const { main } = await import('../../lib/cli/main.js')
  const said = async (...args: string[]): Promise<string> => {
    let stderr = ''
    const sink = { write: (chunk: string | Uint8Array) => ((stderr += String(chunk)), true) }
    const code = await main(['login', ...args], { stdin: stdin as never, stdout: sink, stderr: sink })
    t.equal(code, 2)
    return stderr
  }
  t.match(await said('r.example'), /use --username/)
  t.match(await said('-u', 'me', 'r.example'), /use --password-stdin/)
  t.match(await said('--password-stdin', 'r.example'), /--password-stdin needs --username/)
  t.match(await said('-u', 'me', '-p', 'x', '--password-stdin', 'r.example'), /twice/)
})
