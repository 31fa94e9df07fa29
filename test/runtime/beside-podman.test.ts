/** What a container may do, attempt by attempt, and beside podman's where there is one. */
import t from 'tap'
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Lamina, unable } from './lamina.js'
import { outcomes, probe } from './probe.js'

t.setTimeout(900_000)
const lacks = existsSync('/usr/bin/python3') ? false : '/usr/bin/python3 is not installed'

/** Of all attempts, those that a default container may make with success. It is process 1 itself. */
const harmless = new Set([
  'chroot',
  'personality linux32',
  'setuid',
  'socket raw',
  'socket packet',
  'mknod block',
  'mknod char',
  'write /dev/new',
  'write /dev/shm/new',
  'write /etc/new',
  'write /proc/self/oom_score_adj',
  'write /proc/1/oom_score_adj',
  'read /proc/kallsyms',
  'read /proc/modules',
  'read /proc/1/environ',
  'process_vm_readv',
  'kill 1 as a user',
])
/** Docker's default capabilities that podman's default does not have. */
const more = ['AUDIT_WRITE', 'MKNOD', 'NET_RAW']
const isAllowed = (outcome: unknown): boolean => outcome === 'allowed' || outcome === 'read'

t.test('attempts', { skip: unable() || lacks, timeout: 900_000 }, t => {
  const lamina = new Lamina()
  t.teardown(() => lamina.close())
  const tree = join(lamina.scratch, 'tree')
  const shared = ['bin', 'sbin', 'lib', 'lib64', 'usr'].filter(d => existsSync(`/${d}`))
  for (const d of ['etc', 'tmp', 'proc', 'sys', 'dev', 'root', ...shared]) mkdirSync(join(tree, d), { recursive: true })
  writeFileSync(join(tree, 'etc/passwd'), 'root:x:0:0:root:/root:/bin/sh\n')
  writeFileSync(join(tree, 'etc/group'), 'root:x:0:\n')
  writeFileSync(join(lamina.scratch, 'probe.py'), probe)
  const binds = [...shared.map(d => `/${d}:/${d}:ro`), `${lamina.scratch}/probe.py:/probe.py:ro`]
  const options = ['--rm', '--network', 'none', ...binds.flatMap(b => ['-v', b])]
  const command = ['/usr/bin/python3', '/probe.py']
  const own = (...words: string[]): Map<string, unknown> => {
    const r = lamina.do(['run', ...options, ...words, '--rootfs', tree, '--', ...command])
    if (r.code !== 0) throw new Error(r.stderr)
    return outcomes(r.stdout)
  }

  const full = own()
  const found = [...full].filter(([name, outcome]) => isAllowed(outcome) && !harmless.has(name)).map(([name]) => name)
  t.same(found, [], 'nothing else is allowed')
  t.ok(full.size > 100, `${full.size} things were looked at`)
  t.match(Object.fromEntries(full), {
    CapEff: '00000000a80425fb',
    CapBnd: '00000000a80425fb',
    NoNewPrivs: '0',
    Seccomp: '2',
    'read /tmp/disk': 'EPERM',
    'read /tmp/mem': 'EPERM',
    'ls /sys/firmware': [],
    processes: true,
    'root of 1': '/',
    'exe of 1': true,
    descriptors: ['0', '1', '2'],
    links: ['lo'],
    'writable mounts': [],
  })

  t.test('beside podman', { skip: spawnSync('podman', ['--version']).status !== 0 && 'no podman' }, t => {
    const podman = (...words: string[]) => {
      // Its store is a tmpfs that nobody else sees: it wants a short path, and goes by itself.
      const store = ['--root', '/mnt/root', '--runroot', '/mnt/run', '--storage-driver', 'vfs']
      const quiet = ['--cgroup-manager', 'cgroupfs', '--events-backend', 'none', '--runtime', 'crun']
      const limits = ['--ulimit', 'nofile=1024:1024', '--ulimit', 'nproc=1024:1024']
      const line = [...store, ...quiet, 'run', ...limits, ...options, ...words, '--rootfs', tree, ...command]
      // crun takes no host with both versions of cgroups: in a mount namespace of its own the second is taken away.
      const script =
        'while umount /sys/fs/cgroup/unified 2>/dev/null; do :; done; mount -t tmpfs podman /mnt && exec podman "$@"'
      return spawnSync('unshare', ['-m', 'sh', '-c', script, 'podman', ...line], { encoding: 'utf8', timeout: 300_000 })
    }
    for (const [drop, add] of [
      [more.flatMap(c => ['--cap-drop', c]), []],
      [[], more.flatMap(c => ['--cap-add', c])],
    ] as const) {
      const there = podman(...add)
      if (there.status !== 0) {
        t.pass('podman', { skip: `podman does not run here: ${there.stderr.trim().split('\n').at(-1) ?? ''}` })
        continue
      }
      const theirs = outcomes(there.stdout)
      const ours = drop.length === 0 ? full : own(...drop)
      t.same([...ours.keys()].sort(), [...theirs.keys()].sort(), 'the same was looked at')
      const looser = [...ours].filter(([name, outcome]) => isAllowed(outcome) && !isAllowed(theirs.get(name)))
      t.same(looser, [], 'what podman refuses is refused here')
      for (const name of ['Uid', 'Gid', 'Groups', 'NoNewPrivs', 'Seccomp', 'processes', 'links', 'namespaces', 'umask'])
        t.same(ours.get(name), theirs.get(name), name)
      for (const name of ['CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb'])
        t.same(ours.get(name), theirs.get(name), name)
      for (const name of [
        'writable mounts',
        'mounts where programs may gain',
        'mounts where programs may be',
        'devices',
      ])
        t.same(
          (ours.get(name) as string[]).filter(m => !(theirs.get(name) as string[]).includes(m)),
          [],
          `${name}: none that podman does not have`,
        )
    }
    t.end()
  })
  t.end()
})
