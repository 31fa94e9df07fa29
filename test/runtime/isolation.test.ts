import t from 'tap'
import { chmodSync, existsSync, mkdirSync, readFileSync, readlinkSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Lamina, unable } from './lamina.js'

t.setTimeout(900_000)
const skip = unable()

t.test('what a process in a container can see and do', { skip, timeout: 900_000 }, t => {
  const lamina = new Lamina()
  t.teardown(() => lamina.close())
  const sh = (script: string, ...options: string[]) =>
    lamina.do(['run', '--rm', ...options, '--rootfs', '/', '--', 'sh', '-c', script])

  t.test('capabilities, seccomp, no_new_privs, as docker has them', t => {
    const r = sh('grep -E "^(Cap|NoNew|Seccomp:)" /proc/self/status')
    t.match(
      r.stdout,
      /CapInh:\t0+\nCapPrm:\t00000000a80425fb\nCapEff:\t00000000a80425fb\nCapBnd:\t00000000a80425fb\nCapAmb:\t0+\nNoNewPrivs:\t0\nSeccomp:\t2\n/,
    )
    const user = sh(
      'grep -E "^(Cap|NoNew)" /proc/self/status',
      '-u',
      '1000',
      '--security-opt',
      'no-new-privileges',
      '--cap-drop',
      'ALL',
    )
    t.match(user.stdout, /CapPrm:\t0+\nCapEff:\t0+\nCapBnd:\t0+\nCapAmb:\t0+\nNoNewPrivs:\t1\n/)
    t.match(
      sh('grep -E "^(CapEff|Seccomp:)" /proc/self/status', '--privileged').stdout,
      /CapEff:\t000001f[0-9a-f]+\nSeccomp:\t0\n/,
    )
    t.end()
  })

  t.test('namespaces of its own, and the host’s where asked for', t => {
    const kinds = ['mnt', 'pid', 'net', 'ipc', 'uts', 'cgroup']
    const own = kinds.map(k => readlinkSync(`/proc/self/ns/${k}`))
    const inside = (r: { stdout: string }): string[] => r.stdout.trim().split('\n')
    const script = `for k in ${kinds.join(' ')}; do readlink /proc/self/ns/$k; done`
    inside(sh(script)).forEach((ns, i) => t.not(ns, own[i], kinds[i] ?? ''))
    const shared = inside(
      sh(script, '--network', 'host', '--pid', 'host', '--ipc', 'host', '--uts', 'host', '--cgroupns', 'host'),
    )
    shared.forEach((ns, i) => (kinds[i] === 'mnt' ? t.not(ns, own[i]) : t.equal(ns, own[i], kinds[i] ?? '')))
    t.equal(sh('ip -o link | wc -l').stdout, '1\n', 'no network: the loopback alone')
    t.equal(sh('ls /proc | grep -c "^[0-9]"').stdout.trim().length, 1, 'it sees its own processes only')
    t.end()
  })

  const refused: [what: string, script: string][] = [
    ['mount', 'mount -t tmpfs none /mnt'],
    ['a new user namespace', 'unshare -r true'],
    ['sysrq', 'echo h > /proc/sysrq-trigger'],
    ['core_pattern', 'echo x > /proc/sys/kernel/core_pattern'],
    ['kernel parameters', 'echo 0 > /proc/sys/kernel/randomize_va_space'],
    ['sysfs', 'echo x > /sys/kernel/profiling || echo 1 > /sys/block/zram0/reset'],
    ['the memory controller', 'mkdir /sys/fs/cgroup/memory/x'],
    ['making the root writable below', 'mount -o remount,rw /sys'],
    ['the host name', 'hostname other'],
    ['the clock', 'date -s 2020-01-01'],
    [
      'kernel modules',
      "python3 -c \"import ctypes; c=ctypes.CDLL(None,use_errno=True); exit(0 if c.syscall(313 if __import__('platform').machine()=='x86_64' else 273,-1,b'',0)==0 or ctypes.get_errno()!=1 else 1)\"",
    ],
    ['the disk by its number', 'rm -f /tmp/d; mknod /tmp/d b 254 0 && dd if=/tmp/d of=/dev/null bs=512 count=1'],
    ['kernel memory', 'test $(head -c 1 /proc/kcore | wc -c) -gt 0'],
    ['kernel messages through /dev', 'cat /dev/kmsg'],
    ['keys of the host', 'test -s /proc/keys'],
    ['firmware', 'test -n "$(ls /sys/firmware)"'],
    [
      'a pivot_root',
      "python3 -c \"import ctypes; c=ctypes.CDLL(None); exit(0 if c.syscall(155 if __import__('platform').machine()=='x86_64' else 41,b'/',b'/')==0 else 1)\"",
    ],
    ['other processes’ roots', 'test "$(readlink /proc/1/root)" != / || ls /proc/2/root'],
  ]
  t.test('each of these is refused', t => {
    // One container for all: each line says what went well although it must not.
    const script = refused.map(([what, s]) => `(${s}) >/dev/null 2>&1 && echo "ALLOWED ${what}"`).join('\n')
    const r = sh(`${script}\ntrue`)
    t.equal(r.code, 0, r.stderr)
    t.equal(r.stdout, '', 'nothing was allowed')
    t.end()
  })

  t.test('the same script is not refused with all privileges: it does test something', t => {
    const r = sh('mount -t tmpfs none /mnt && echo mounted; hostname other && hostname', '--privileged')
    t.equal(r.stdout, 'mounted\nother\n')
    t.end()
  })

  t.test(
    'no fd of the host is left, in run and in exec; a workdir of /proc/self/fd/N leads nowhere (CVE-2024-21626)',
    t => {
      t.same(sh('ls -l /proc/self/fd | grep -c -v -E "pipe:|/proc/[0-9]+/fd|total|/dev/null"').stdout.trim(), '0')
      for (const n of [3, 4, 5, 6, 7, 8, 9, 10, 15, 20]) {
        const r = lamina.do([
          'run',
          '--rm',
          '-w',
          `/proc/self/fd/${n}`,
          '--rootfs',
          '/',
          '--',
          'ls',
          '../../../etc/hostname',
        ])
        if (r.code === 0) t.fail(`fd ${n} of the host was entered`)
      }
      lamina.out('run', '-d', '--name', 'f', '--rootfs', '/', '--', 'sleep', '1000')
      t.same(
        lamina.out(
          'exec',
          'f',
          'sh',
          '-c',
          'ls -l /proc/self/fd | grep -c -v -E "pipe:|/proc/[0-9]+/fd|total|/dev/null"; true',
        ),
        '0',
      )
      const r = lamina.do(['exec', '-w', '/proc/self/fd/9', 'f', 'true'])
      t.not(r.code, 0)
      t.end()
    },
  )

  t.test('exec never shows the host’s node: /proc/PID/exe is the container’s program (CVE-2019-5736)', t => {
    const script = 'for i in $(seq 300); do for p in /proc/[0-9]*; do readlink $p/exe; done; done 2>/dev/null | sort -u'
    const child = lamina.start(['exec', 'f', 'sh', '-c', script])
    let seen = ''
    child.stdout?.on('data', (c: Buffer) => (seen += c.toString()))
    return new Promise<void>(resolve => {
      child.on('close', () => {
        t.notMatch(seen, /node/)
        t.match(seen, /sleep/)
        lamina.out('rm', '-f', 'f')
        resolve()
      })
      for (let i = 0; i < 2; i++) lamina.do(['exec', 'f', 'true'])
    })
  })

  t.test('symlinks of the image do not lead mounts out of it (CVE-2021-30465)', t => {
    const tree = join(lamina.scratch, 'tree')
    const victim = join(lamina.scratch, 'victim')
    mkdirSync(tree)
    mkdirSync(victim)
    symlinkSync('../../../../../../../..' + victim, join(tree, 'out'))
    symlinkSync('/proc/self/fd', join(tree, 'fds'))
    for (const name of ['bin', 'lib', 'lib64', 'usr', 'etc']) {
      if (existsSync(`/${name}`)) mkdirSync(join(tree, name))
    }
    const binds = ['bin', 'lib', 'lib64', 'usr'].filter(n => existsSync(`/${n}`)).flatMap(n => ['-v', `/${n}:/${n}:ro`])
    writeFileSync(join(lamina.scratch, 'data'), 'data')
    const run = (target: string) =>
      lamina.do([
        'run',
        '--rm',
        ...binds,
        '-v',
        `${join(lamina.scratch, 'data')}:${target}`,
        '--rootfs',
        tree,
        '--',
        'true',
      ])
    run('/out/file')
    t.notOk(existsSync(join(victim, 'file')), 'nothing was made outside')
    for (let n = 3; n < 30; n++) if (n % 9 === 0) run(`/fds/${n}/planted`)
    t.notOk(existsSync(join(process.cwd(), 'planted')) || existsSync('/planted'), 'nor through a magic link')
    t.end()
  })

  t.test('read-only root, tmpfs, read-only and propagation of binds', t => {
    const dir = join(lamina.scratch, 'shared')
    mkdirSync(dir)
    chmodSync(dir, 0o777)
    const r = sh(
      'touch /x 2>/dev/null && echo root; touch /t/x && echo tmpfs; touch /ro/x 2>/dev/null && echo ro; touch /rw/x && echo rw; grep -c " /t tmpfs .*noexec" /proc/mounts',
      '--read-only',
      '--tmpfs',
      '/t:size=1m',
      '-v',
      `${dir}:/ro:ro`,
      '-v',
      `${dir}:/rw`,
    )
    t.equal(r.stdout, 'tmpfs\nrw\n1\n')
    t.end()
  })

  t.test('limits, sysctls, devices', t => {
    const r = sh(
      'ulimit -n; cat /proc/sys/net/ipv4/ip_default_ttl; test -c /dev/extra && echo device; df -k /dev/shm | tail -1 | tr -s " " | cut -d" " -f2',
      '--ulimit',
      'nofile=100:200',
      '--sysctl',
      'net.ipv4.ip_default_ttl=33',
      '--device',
      '/dev/null:/dev/extra',
      '--shm-size',
      '1m',
    )
    t.equal(r.stdout, '100\n33\ndevice\n1024\n')
    t.match(sh('true', '--sysctl', 'kernel.no.such=1'), { code: 125, stderr: /kernel\/no\/such/ })
    t.match(sh('true', '--device', '/dev/none'), { code: 125, stderr: /does not exist/ })
    t.match(sh('true', '--cap-add', 'NOPE'), { code: 125, stderr: /capability NOPE/ })
    t.end()
  })

  t.test('a seccomp profile of one’s own is what applies', t => {
    const profile = join(lamina.scratch, 'profile.json')
    writeFileSync(
      profile,
      JSON.stringify({
        defaultAction: 'SCMP_ACT_ALLOW',
        syscalls: [{ names: ['mkdir', 'mkdirat'], action: 'SCMP_ACT_ERRNO', errnoRet: 5 }],
      }),
    )
    t.match(sh('mkdir /tmp/y', '--security-opt', `seccomp=${profile}`).stderr, /Input\/output error/)
    t.equal(sh('grep ^Seccomp: /proc/self/status', '--security-opt', 'seccomp=unconfined').stdout, 'Seccomp:\t0\n')
    writeFileSync(profile, 'no json')
    t.match(sh('true', '--security-opt', `seccomp=${profile}`), { code: 125, stderr: /is no JSON/ })
    t.end()
  })

  t.test('the host is as it was', t => {
    const ids = [...readFileSync(join(lamina.root, 'events'), 'utf8').matchAll(/"id":"([0-9a-f]{12})/g)].map(m => m[1])
    t.ok(ids.length > 0)
    t.notMatch(readFileSync('/proc/self/mountinfo', 'latin1'), new RegExp(`lamina:(${ids.join('|')})`))
    t.end()
  })
  t.end()
})
