/** Ways out of containers that others have had (CVEs): each is tried here. Others of them are in isolation.test.ts. */
import t from 'tap'
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Lamina, unable, until } from './lamina.js'

t.setTimeout(900_000)
const python = '/usr/bin/python3'
const skip = unable() || (existsSync(python) ? false : `${python} is not installed`)

/** Swaps /shared/a and /shared/b, a directory and a symlink, as fast as it can. */
const swap = `
import ctypes
libc = ctypes.CDLL(None)
print('swapping', flush=True)
while True: libc.renameat2(-100, b'/shared/a', -100, b'/shared/b', 2)
`

t.test('an exchange race on the target of a mount, and of cp (CVE-2021-30465, CVE-2018-15664)', { skip }, async t => {
  const lamina = new Lamina()
  t.teardown(() => lamina.close())
  const [shared, victim] = ['shared', 'victim'].map(name => join(lamina.scratch, name)) as [string, string]
  for (const dir of [join(shared, 'a'), victim]) mkdirSync(dir, { recursive: true })
  writeFileSync(join(victim, 'file'), 'of the host')
  // Whoever follows it on the host comes to the victim; in the container there is nothing.
  symlinkSync(`../../../../../../../../..${victim}`, join(shared, 'b'))
  writeFileSync(join(shared, 'swap.py'), swap)
  const volume = ['-v', `${shared}:/shared`]
  lamina.out('run', '-d', '--name', 'swapper', ...volume, '--rootfs', '/', '--', python, '/shared/swap.py')
  t.ok(await until(() => lamina.out('logs', 'swapper') === 'swapping'))
  writeFileSync(join(lamina.scratch, 'payload'), 'payload')
  for (let i = 0; i < 8; i++) {
    const inner = ['--tmpfs', '/shared/a/deep', '-v', `${lamina.scratch}/payload:/shared/a/planted`]
    lamina.do(['run', '--rm', ...volume, ...inner, '--rootfs', '/', '--', 'true'])
    lamina.do(['cp', join(lamina.scratch, 'payload'), `swapper:/shared/a/planted${i}`])
    lamina.do(['cp', 'swapper:/shared/a/file', join(lamina.scratch, `out${i}`)])
  }
  t.same(readdirSync(victim), ['file'], 'nothing was made outside')
  t.equal(readFileSync(join(victim, 'file'), 'utf8'), 'of the host')
  const stolen = readdirSync(lamina.scratch).filter(f => f.startsWith('out'))
  t.same(stolen, [], 'nor was anything read there')
  lamina.out('rm', '-f', 'swapper')
})

t.test('cp runs and loads nothing of the container (CVE-2019-14271)', { skip }, t => {
  const lamina = new Lamina()
  t.teardown(() => lamina.close())
  const tree = join(lamina.scratch, 'tree')
  const libraries = [
    'lib',
    'lib64',
    'usr/lib',
    'lib/x86_64-linux-gnu',
    'lib/aarch64-linux-gnu',
    'usr/lib/x86_64-linux-gnu',
  ]
  const marker = join(lamina.scratch, 'marker')
  const source = join(lamina.scratch, 'evil.c')
  writeFileSync(
    source,
    `#include <fcntl.h>\n__attribute__((constructor)) static void go(void) { open("${marker}", O_CREAT | O_WRONLY, 0600); }`,
  )
  const made = spawnSync('gcc', ['-shared', '-fPIC', '-o', join(lamina.scratch, 'evil.so'), source])
  if (made.status !== 0) {
    t.pass('a hostile library', { skip: 'no gcc' })
    t.end()
    return
  }
  const evil = readFileSync(join(lamina.scratch, 'evil.so'))
  for (const dir of libraries) {
    mkdirSync(join(tree, dir), { recursive: true })
    for (const name of ['libnss_files.so.2', 'libnss_dns.so.2', 'libc.so.6', 'libselinux.so.1', 'libacl.so.1'])
      writeFileSync(join(tree, dir, name), evil, { mode: 0o755 })
  }
  mkdirSync(join(tree, 'etc'))
  mkdirSync(join(tree, 'data'))
  writeFileSync(join(tree, 'etc/nsswitch.conf'), 'passwd: files dns\ngroup: files dns\n')
  writeFileSync(join(tree, 'etc/passwd'), 'someone:x:1:1::/:/bin/sh\n')
  writeFileSync(join(tree, 'data/file'), 'data')
  lamina.out('create', '--name', 'c', '-v', 'fill:/data', '--rootfs', tree, '--', 'x')
  lamina.out('cp', 'c:/data', join(lamina.scratch, 'out'))
  lamina.out('cp', '-a', join(lamina.scratch, 'evil.c'), 'c:/data/evil.c')
  t.equal(readFileSync(join(lamina.scratch, 'out/file'), 'utf8'), 'data')
  t.match(lamina.do(['start', '-a', 'c']), { code: 127 }, 'a start fills the volume')
  t.equal(readFileSync(join(lamina.root, 'volumes/fill/data/file'), 'utf8'), 'data')
  t.notOk(existsSync(marker), 'nothing of it ran here')
  t.end()
})

t.test('the program that serves cannot be overwritten (CVE-2019-5736)', { skip }, async t => {
  const lamina = new Lamina()
  t.teardown(() => lamina.close())
  const digest = (): string => createHash('sha256').update(readFileSync(process.execPath)).digest('hex')
  const before = digest()
  const tree = join(lamina.scratch, 'tree')
  const shared = ['bin', 'sbin', 'lib', 'lib64', 'usr'].filter(d => existsSync(`/${d}`))
  for (const d of ['etc', 'tmp', 'proc', ...shared]) mkdirSync(join(tree, d), { recursive: true })
  symlinkSync('/proc/self/exe', join(tree, 'evil'))
  writeFileSync(join(tree, 'script'), '#!/proc/self/exe\n', { mode: 0o755 })
  const binds = shared.flatMap(d => ['-v', `/${d}:/${d}:ro`])
  const open = `const fs = require('fs'); for (const flags of ['r+', 'w', 'a']) try { fs.openSync('/proc/self/exe', flags); console.log('opened') } catch (e) { console.log(e.code) }`
  const direct = lamina.do(['run', '--rm', ...binds, '--rootfs', tree, '--', '/evil', '-e', open])
  t.notMatch(direct.stdout, /opened/, 'an entrypoint that is /proc/self/exe')
  t.notMatch(lamina.do(['run', '--rm', ...binds, '--rootfs', tree, '--', '/script']).stdout, /opened/)

  // It waits for whoever enters, and tries to open his program for writing, by a link and by a descriptor kept.
  const wait = `
import os
print('waiting', flush=True)
while True:
    for p in os.listdir('/proc'):
        if not p.isdigit() or p == str(os.getpid()): continue
        try: fd = os.open('/proc/%s/exe' % p, os.O_PATH)
        except OSError: continue
        name = os.readlink('/proc/self/fd/%d' % fd)
        for _ in range(20):
            try:
                os.open('/proc/self/fd/%d' % fd, os.O_WRONLY)
                print('opened', name, flush=True)
            except OSError: pass
        os.close(fd)
`
  writeFileSync(join(tree, 'wait.py'), wait)
  lamina.out('run', '-d', '--name', 'w', ...binds, '--rootfs', tree, '--', python, '/wait.py')
  t.ok(await until(() => lamina.out('logs', 'w') === 'waiting'))
  for (let i = 0; i < 5; i++) lamina.do(['exec', 'w', i % 2 === 0 ? '/evil' : 'true', '-e', '0'])
  t.equal(lamina.out('logs', 'w'), 'waiting', 'nobody’s program could be opened')
  lamina.out('rm', '-f', 'w')
  t.equal(digest(), before)
})
