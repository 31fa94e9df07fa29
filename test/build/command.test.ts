/** `lamina build` and its neighbours as a user meets them, in process. No RUN: those are in run.test.ts. */
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import t from 'tap'
import { files, shop } from './shop.js'

const FILE = 'FROM scratch\nCOPY . /\n'

t.test('contexts: a directory, a tar, stdin, nothing', async t => {
  const s = shop(t, {
    ctx: { Dockerfile: FILE, a: 'a', skip: 'x', '.dockerignore': 'skip\nDockerfile\n.dockerignore\n' },
    other: { 'my.Dockerfile': 'FROM scratch\nCOPY a /b\n' },
  })
  const ctx = join(s.dir, 'ctx')
  t.strictSame(await files(s, [ctx]), ['a'])
  t.strictSame(await files(s, ['-f', join(s.dir, 'other/my.Dockerfile'), ctx]), ['b'])
  t.strictSame(await files(s, ['-f', '-', ctx], 'FROM scratch\nCOPY a /c\n'), ['c'])
  const tar = execFileSync('tar', ['-C', ctx, '-c', '.'])
  writeFileSync(join(s.dir, 'ctx.tar'), tar)
  t.strictSame(await files(s, [join(s.dir, 'ctx.tar')]), ['a'])
  t.strictSame(await files(s, ['-'], execFileSync('tar', ['-C', ctx, '-cz', '.'])), ['a'])
  t.strictSame(await files(s, ['-'], 'FROM scratch\nWORKDIR /w\n'), ['w'])
})

t.test('contexts and ADD from a server and from git', async t => {
  const s = shop(t, {
    ctx: { f: 'f' },
    repo: { Dockerfile: FILE, in: 'repo', sub: { Dockerfile: 'FROM scratch\nCOPY x /x\n', x: 'x' } },
  })
  const git = (...args: string[]): string =>
    execFileSync('git', ['-C', join(s.dir, 'repo'), '-c', 'user.name=t', '-c', 'user.email=t@t', ...args], {
      encoding: 'utf8',
    })
  git('init', '-q', '-b', 'main')
  git('add', '.')
  git('commit', '-q', '-m', 'one')
  git('tag', 'v1')
  git('update-server-info')
  const content = Buffer.from('remote content')
  const tar = execFileSync('tar', ['-C', join(s.dir, 'repo'), '-c', 'in'])
  const server = createServer((request, response) => {
    const { pathname } = new URL(request.url!, 'http://x')
    if (pathname === '/files/data') response.end(content)
    else if (pathname === '/a.tar') response.end(tar)
    else {
      // A dumb git repository is just files.
      const file = join(s.dir, 'repo/.git', pathname.replace('/repo.git', ''))
      if (existsSync(file) && pathname.startsWith('/repo.git/')) response.end(readFileSync(file))
      else response.writeHead(404).end()
    }
  }).listen(0, '127.0.0.1')
  await new Promise(resolve => server.once('listening', resolve))
  t.teardown(() => server.close())
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const ctx = join(s.dir, 'ctx')
  const add = (line: string): Promise<string[]> => files(s, ['-f', '-', ctx], `FROM scratch\n${line}\n`)
  const sum = `sha256:${createHash('sha256').update(content).digest('hex')}`
  t.strictSame(await add(`ADD ${url}/files/data /d/`), ['d', 'd/data'])
  t.strictSame(await add(`ADD --checksum=${sum} --chmod=0755 ${url}/files/data /named`), ['named'])
  t.strictSame(await add(`ADD ${url}/a.tar /t/`), ['t', 't/a.tar'], 'a remote archive is not unpacked')
  t.strictSame(await add(`ADD --unpack ${url}/a.tar /t/`), ['t', 't/in'])
  const wrong = await s.lamina(
    ['build', '-f', '-', ctx],
    `FROM scratch\nADD --checksum=sha256:${'0'.repeat(64)} ${url}/files/data /\n`,
  )
  t.equal(wrong.code, 1)
  t.match(wrong.err, /-:2: fetch .*: it is sha256:/)
  const missing = await s.lamina(['build', '-f', '-', ctx], `FROM scratch\nADD ${url}/nothing /x\n`)
  t.match(missing.err, /the server answered 404/)
  t.strictSame(await add(`ADD ${url}/repo.git#v1 /src`), [
    'src',
    'src/Dockerfile',
    'src/in',
    'src/sub',
    'src/sub/Dockerfile',
    'src/sub/x',
  ])
  t.strictSame(await files(s, [`${url}/repo.git#main:sub`]), ['x'])
  server.closeAllConnections()
})

t.test('results: names, ID, iidfile, tar, history, steps, rollback', async t => {
  const s = shop(t, { ctx: { a: 'a', b: 'b', Dockerfile: 'FROM scratch\nCOPY a /a\nENV A=1\nCOPY b /b\nCMD ["x"]\n' } })
  const ctx = join(s.dir, 'ctx')
  const built = await s.lamina([
    'build',
    '-t',
    'web:1',
    '-t',
    'web:2',
    '--iidfile',
    join(s.dir, 'id'),
    '--label',
    'l=1',
    ctx,
  ])
  t.equal(built.code, 0)
  t.match(built.out, /^sha256:[0-9a-f]{64}\n$/)
  t.equal(readFileSync(join(s.dir, 'id'), 'utf8'), built.out.trim())
  t.match(built.err, /#1 \[stage-0 1\/4\] COPY a \/a\n#1 DONE/)
  const history = JSON.parse((await s.lamina(['history', '--json', 'web:1'])).out) as {
    step: number
    line: number
    createdBy: string
  }[]
  t.strictSame(
    history.map(h => [h.step, h.line, h.createdBy]),
    [
      [4, 5, 'CMD ["x"]'],
      [3, 4, 'COPY b /b'],
      [2, 3, 'ENV A=1'],
      [1, 2, 'COPY a /a'],
    ],
  )
  t.equal((await s.lamina(['tag', 'web:1@2', 'web:before'])).code, 0)
  const inspect = async (name: string): Promise<{ Config: { Env: string[]; Cmd: string[] | null } }> =>
    (JSON.parse((await s.lamina(['inspect', name])).out) as { Config: { Env: string[]; Cmd: string[] | null } }[])[0]!
  t.match((await inspect('web:before')).Config, { Env: [/PATH/, 'A=1'] })
  t.notOk((await inspect('web:before')).Config.Cmd)
  t.match((await s.lamina(['ls', 'web:before'])).out, /^a\n$/)
  t.equal((await s.lamina(['rollback', 'web:2', '1'])).code, 0)
  t.match((await s.lamina(['ls', 'web:2'])).out, /^a\n$/)
  t.match((await s.lamina(['ls', 'web:1'])).out, /^a\nb\n$/, 'the other name still means the whole')
  t.match((await s.lamina(['rollback', 'web:2', '9'])).err, /no step 9: the image has 1/)
  t.match((await s.lamina(['rollback', 'web:2', 'x'])).err, /no number/)
  const again = await s.lamina(['build', '--explain', ctx])
  t.match(again.err, /CACHED/)
  t.equal((await s.lamina(['prune', '-f'])).code, 0)
  t.match((await s.lamina(['build', ctx])).err, /#1 DONE/, 'prune forgets the cache')
  const forgotten = await s.lamina(['builder', 'prune', '-f'])
  t.match(forgotten, { code: 0, out: /^Forgotten: \d+ steps of builds\nTotal reclaimed space: / })
  t.match((await s.lamina(['images'])).out, /web +1 /, 'images stay')
  t.match((await s.lamina(['image', 'build', ctx])).err, /#1 DONE/, 'builder prune forgets it too')
  const tar = join(s.dir, 'out.tar')
  t.equal((await s.lamina(['build', '-q', '-o', `type=tar,dest=${tar}`, ctx])).code, 0)
  t.equal(execFileSync('tar', ['-tf', tar], { encoding: 'utf8' }), './\na\nb\n')
})

t.test('what is wrong is said with the place, and the exit code is 1 (2 for wrong usage)', async t => {
  const s = shop(t, { ctx: { Dockerfile: 'FROM scratch\n\nCOPPY a /\n' }, empty: {} })
  const broken = await s.lamina(['build', join(s.dir, 'ctx')])
  t.equal(broken.code, 1)
  t.match(
    broken.err,
    '> 3 | COPPY a /\n    | ^^^^^\nlamina: Dockerfile:3: unknown instruction: COPPY (did you mean COPY?)',
  )
  t.match((await s.lamina(['build', join(s.dir, 'empty')])).err, /read Dockerfile: .* has none/)
  t.match((await s.lamina(['build', join(s.dir, 'nowhere')])).err, /open context .*nowhere/)
  const usage: [string[], RegExp][] = [
    [['build'], /context is needed/],
    [['build', '--secret', 'src=/nowhere', '.'], /no such file/],
    [['build', '--ssh', 'default=/etc/passwd', '.'], /not the socket/],
    [['build', '--label', '=x', '.'], /no name/],
    [['build', '--shm-size', 'big', '.'], /64m/],
  ]
  for (const [args, message] of usage) {
    const { code, err } = await s.lamina(args)
    t.equal(code, 2, args.join(' '))
    t.match(err, message)
  }
  t.match(
    (await s.lamina(['build', '-o', 'type=registry', join(s.dir, 'ctx')])).err,
    /the type is image, local, tar, oci or docker/,
  )
})

t.test('lint', async t => {
  const s = shop(t, { Dockerfile: 'FROM scratch\nMAINTAINER me\n', bad: 'FROM\n' })
  const found = await s.lamina(['lint', join(s.dir, 'Dockerfile')])
  t.equal(found.code, 0)
  t.match(found.out, /Dockerfile:2: MaintainerDeprecated: .*\n {2}1 \| FROM scratch\n> 2 \| MAINTAINER me\n/)
  t.equal((await s.lamina(['lint', '--strict', join(s.dir, 'Dockerfile')])).code, 1)
  t.match(JSON.parse((await s.lamina(['lint', '--json', join(s.dir, 'Dockerfile')])).out), [
    { rule: 'MaintainerDeprecated', line: 2 },
  ])
  t.equal((await s.lamina(['lint', join(s.dir, 'bad')])).code, 1)
})

t.test('progress as JSON is one event per line', async t => {
  const s = shop(t, { ctx: { Dockerfile: 'FROM scratch\nCOPY . /\n' } })
  const { err } = await s.lamina(['build', '--progress', 'json', join(s.dir, 'ctx')])
  const events = err
    .trim()
    .split('\n')
    .map(line => JSON.parse(line) as { type: string })
  t.strictSame(
    events.map(e => e.type),
    ['plan', 'start', 'done'],
  )
})
