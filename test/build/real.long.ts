/**
 * Real builds on a real Debian (mmdebstrap, from the network): a C program to scratch, a Node service with `npm ci` under
 * a cache mount, a Python program, nginx with a config of ours; built, run, and reached by a real client.
 * REAL_BASE may name a root filesystem tar with the same packages that was made before: it takes minutes.
 */
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { PACKAGES, PATH, realImages, registrySecret } from './real-images.js'

const missing = ((): string | false => {
  if (process.getuid?.() !== 0) return 'needs root'
  if (spawnSync('mmdebstrap', ['--version']).status !== 0) return 'needs mmdebstrap'
  if (spawnSync('getent', ['hosts', 'deb.debian.org']).status !== 0) return 'needs the network'
  return false
})()

t.test('real images', { skip: missing, timeout: 1_800_000 }, async t => {
  const dir = t.testdir()
  const contexts = realImages(dir, 'debian-dev')
  const env = { ...process.env, LAMINA_ROOT: join(dir, 'store'), LAMINA_RUN: join(dir, 'run') }
  const lamina = (...args: string[]): string =>
    execFileSync(process.execPath, ['dist/bin/lamina.js', ...args], {
      env,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'inherit'],
    })
  mkdirSync(join(dir, 'run'))
  const made = process.env['REAL_BASE']
  const tar = made ?? join(dir, 'debian.tar')
  if (made === undefined) {
    const words = ['--variant=minbase', `--include=${PACKAGES}`, 'bookworm', tar, 'http://deb.debian.org/debian']
    execFileSync('mmdebstrap', words, { stdio: 'ignore' })
  }
  lamina('import', '--change', `ENV PATH=${PATH}`, tar, 'debian-dev')
  if (made === undefined) rmSync(tar)

  await t.test('C to scratch', { timeout: 600_000 }, async t => {
    lamina('build', '-q', '-t', 'c', contexts.c)
    t.equal(lamina('run', '--rm', 'c', 'a', 'b'), 'hello 3\n')
    t.equal(lamina('ls', 'c'), 'hello\n', 'nothing but the program')
  })
  await t.test('Python', { timeout: 600_000 }, async t => {
    lamina('build', '-q', '-t', 'python', contexts.python)
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
      for (let tries = 0; tries < 600 && text === ''; tries++) {
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
  await t.test('Node with npm ci', { timeout: 600_000 }, async t => {
    lamina('build', '-q', ...registrySecret(), '-t', 'node', contexts.node)
    await reached(t, 'node', 8080, 'two hours are 7200000 ms')
    t.match(lamina('ls', 'node:/app'), /node_modules/)
    t.equal(lamina('ls', '-a', 'node:/root').includes('.npm'), false, 'the cache is no part of the image')
  })
  await t.test('nginx', { timeout: 600_000 }, async t => {
    lamina('build', '-q', '-t', 'nginx', contexts.nginx)
    await reached(t, 'nginx', 8081, 'from nginx\n')
  })
})
