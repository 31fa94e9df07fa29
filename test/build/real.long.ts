/**
 * Real builds on a real Debian (mmdebstrap, from the network): a C program to scratch, a Node service with `npm ci` under
 * a cache mount, a Python program, nginx with a config of ours; built, run, and reached by a real client.
 */
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'

const missing = ((): string | false => {
  if (process.getuid?.() !== 0) return 'needs root'
  if (spawnSync('mmdebstrap', ['--version']).status !== 0) return 'needs mmdebstrap'
  if (spawnSync('getent', ['hosts', 'deb.debian.org']).status !== 0) return 'needs the network'
  return false
})()

t.test('real images', { skip: missing, timeout: 1_800_000 }, async t => {
  const dir = t.testdir({
    c: {
      'main.c': '#include <stdio.h>\nint main(int c, char **v) { printf("hello %d\\n", c); }\n',
      Dockerfile:
        'FROM debian-dev AS build\nWORKDIR /src\nCOPY main.c .\nRUN gcc -O2 -static -o hello main.c && ./hello\nFROM scratch\nCOPY --from=build /src/hello /hello\nENTRYPOINT ["/hello"]\n',
    },
    node: {
      'package.json': '{ "name": "svc", "version": "1.0.0", "type": "module", "dependencies": { "ms": "2.1.3" } }',
      'server.mjs':
        "import { createServer } from 'node:http'\nimport ms from 'ms'\ncreateServer((q, r) => r.end(`two hours are ${ms('2h')} ms`)).listen(8080)\n",
      Dockerfile:
        'FROM debian-dev\nWORKDIR /app\nCOPY package.json package-lock.json ./\nRUN --mount=type=cache,target=/root/.npm --mount=type=secret,id=ca,target=/ca.pem NODE_EXTRA_CA_CERTS=/ca.pem npm ci\nCOPY server.mjs .\nUSER nobody\nEXPOSE 8080\nCMD ["node", "server.mjs"]\n',
    },
    python: {
      'app.py': 'import json, sys\nprint(json.dumps({"sum": sum(map(int, sys.argv[1:]))}))\n',
      Dockerfile:
        'FROM debian-dev\nCOPY app.py /app/\nRUN python3 -m compileall -q /app\nENTRYPOINT ["python3", "/app/app.py"]\n',
    },
    nginx: {
      'site.conf': 'server { listen 8081; location / { return 200 "from nginx\\n"; } }\n',
      Dockerfile:
        'FROM debian-dev\nCOPY site.conf /etc/nginx/sites-enabled/default\nRUN nginx -t\nEXPOSE 8081\nSTOPSIGNAL SIGQUIT\nCMD ["nginx", "-g", "daemon off;"]\n',
    },
  })
  const env = { ...process.env, LAMINA_ROOT: join(dir, 'store'), LAMINA_RUN: join(dir, 'run') }
  const lamina = (...args: string[]): string =>
    execFileSync(process.execPath, ['dist/bin/lamina.js', ...args], {
      env,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'inherit'],
    })
  mkdirSync(join(dir, 'run'))
  execFileSync('npm', ['install', '--package-lock-only', '--silent'], { cwd: join(dir, 'node') })
  const tar = join(dir, 'debian.tar')
  const packages = 'gcc,libc6-dev,python3-minimal,nodejs,npm,nginx-light,ca-certificates'
  execFileSync(
    'mmdebstrap',
    ['--variant=minbase', `--include=${packages}`, 'bookworm', tar, 'http://deb.debian.org/debian'],
    {
      stdio: ['ignore', 'ignore', 'ignore'],
    },
  )
  lamina(
    'import',
    '--change',
    'ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
    tar,
    'debian-dev',
  )
  writeFileSync(tar, '')

  await t.test('C to scratch', async t => {
    lamina('build', '-q', '-t', 'c', join(dir, 'c'))
    t.equal(lamina('run', '--rm', 'c', 'a', 'b'), 'hello 3\n')
    t.equal(lamina('ls', 'c'), 'hello\n', 'nothing but the program')
  })
  await t.test('Python', async t => {
    lamina('build', '-q', '-t', 'python', join(dir, 'python'))
    t.equal(lamina('run', '--rm', 'python', '20', '22'), '{"sum": 42}\n')
  })
  const reached = async (
    t: { equal(a: unknown, b: unknown): void },
    image: string,
    port: number,
    wanted: string,
  ): Promise<void> => {
    lamina('run', '-d', '--name', image, '-p', `127.0.0.1:${port}:${port}`, image)
    try {
      let text = ''
      for (let tries = 0; tries < 100 && text === ''; tries++) {
        await new Promise(resolve => setTimeout(resolve, 200))
        text = await fetch(`http://127.0.0.1:${port}/`).then(
          r => r.text(),
          () => '',
        )
      }
      t.equal(text, wanted)
    } finally {
      lamina('rm', '-f', image)
    }
  }
  await t.test('Node with npm ci', async t => {
    // Behind a proxy that signs for the registry, its certificate is a secret of the build.
    const ca = process.env['NODE_EXTRA_CA_CERTS']
    const secret = ca === undefined ? [] : ['--secret', `id=ca,src=${ca}`]
    lamina('build', '-q', ...secret, '-t', 'node', join(dir, 'node'))
    await reached(t, 'node', 8080, 'two hours are 7200000 ms')
    t.match(lamina('ls', 'node:/app'), /node_modules/)
    t.equal(lamina('ls', '-a', 'node:/root').includes('.npm'), false, 'the cache is no part of the image')
  })
  await t.test('nginx', async t => {
    lamina('build', '-q', '-t', 'nginx', join(dir, 'nginx'))
    await reached(t, 'nginx', 8081, 'from nginx\n')
  })
})
