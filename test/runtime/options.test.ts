import t from 'tap'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Cgroup } from '../../lib/runtime/cgroup/cgroup.js'
import * as o from '../../lib/runtime/options.js'
import { chooseCapabilities, defaultCapabilities } from '../../lib/runtime/capabilities.js'
import { identify } from '../../lib/runtime/user.js'
import { checkName } from '../../lib/runtime/names.js'
import { FrameReader, frame } from '../../lib/runtime/frames.js'
import { KeySequence, parseDetachKeys } from '../../lib/runtime/attach.js'
import { hostsFile, resolvConf } from '../../lib/runtime/etc-files.js'
import { limitFiles, weightOf } from '../../lib/runtime/cgroup/limits.js'
import { hierarchies } from '../../lib/runtime/cgroup/hierarchy.js'

t.test('ports', t => {
  t.same(o.ports('80'), [{ hostIp: '', hostPort: 0, containerPort: 80, protocol: 'tcp' }])
  t.same(o.ports('127.0.0.1:8080:80/udp'), [
    { hostIp: '127.0.0.1', hostPort: 8080, containerPort: 80, protocol: 'udp' },
  ])
  t.same(o.ports('[::1]:8080:80')[0]?.hostIp, '::1')
  t.same(o.ports('127.0.0.1::80')[0], { hostIp: '127.0.0.1', hostPort: 0, containerPort: 80, protocol: 'tcp' })
  t.same(
    o.ports('8000-8002:80-82').map(p => [p.hostPort, p.containerPort]),
    [
      [8000, 80],
      [8001, 81],
      [8002, 82],
    ],
  )
  for (const bad of ['', '80:70000', '1-2:3', '80/sctp', 'a:b', '1:2:3:4'])
    t.throws(() => o.ports(bad), { code: 'INVALID' }, bad)
  t.end()
})

t.test('volumes and mounts', t => {
  t.match(o.volume('/a:/b:ro,rslave'), { kind: 'bind', source: '/a', destination: '/b', options: ['ro', 'rslave'] })
  t.match(o.volume('name:/b'), { kind: 'volume', source: 'name' })
  t.match(o.volume('/b').source, /^[0-9a-f]{64}$/)
  t.match(o.mount('type=bind,src=/a,dst=/b,readonly'), {
    kind: 'bind',
    source: '/a',
    destination: '/b',
    options: ['ro'],
  })
  t.match(o.mount('type=tmpfs,target=/t,tmpfs-size=1m'), {
    kind: 'tmpfs',
    options: ['nosuid', 'nodev', 'size=1048576'],
  })
  t.match(o.tmpfs('/t:size=1m,exec'), { destination: '/t', options: ['nosuid', 'nodev', 'size=1m', 'exec'] })
  for (const bad of ['a:b', '/a:/b:xx', '/a:/b:ro:rw', ':/b']) t.throws(() => o.volume(bad), { code: 'INVALID' }, bad)
  for (const bad of ['type=bind,target=/b', 'type=x,target=/b', 'target=b', 'type=bind,source=/a', 'foo=1,target=/x'])
    t.throws(() => o.mount(bad), { code: 'INVALID' }, bad)
  t.throws(() => checkName('volume', '../x'), { code: 'INVALID' }, 'a name does not lead out')
  t.end()
})

t.test('sizes, times, limits, hosts', t => {
  t.equal(o.bytes('-m', '1.5g'), 1.5 * 2 ** 30)
  t.equal(o.bytes('-m', '-1', true), -1)
  t.equal(o.seconds('--x', '1m30s'), 90)
  t.equal(o.seconds('--x', '250ms'), 0.25)
  t.same(o.ulimit('nofile=10:20'), { type: 'nofile', soft: 10, hard: 20 })
  t.same(o.restart('on-failure:3'), { name: 'on-failure', retries: 3 })
  t.same(o.device('/dev/x:/dev/y:r'), { source: '/dev/x', destination: '/dev/y', access: 'r' })
  t.equal(o.extraHost('a:10.0.0.1'), 'a:10.0.0.1')
  t.same(o.environmentEntry('HOME', { HOME: '/h' }), ['HOME=/h'])
  t.same(o.environmentEntry('NOT', {}), [])
  t.same(o.environmentFile('# c\nA=1\n\n B=2\nHOME\n', { HOME: '/h' }), ['A=1', 'B=2', 'HOME=/h'])
  const bad = [
    () => o.bytes('-m', 'x'),
    () => o.bytes('-m', '-1'),
    () => o.seconds('--x', '1y'),
    () => o.ulimit('nofile=2:1'),
    () => o.ulimit('x=1'),
    () => o.restart('always:2'),
    () => o.device('x'),
    () => o.extraHost('a'),
    () => o.environmentEntry('=x', {}),
    () => o.cpuQuota('0'),
    () => o.cpuQuota('1000'),
    () => o.cpuList('--cpuset-cpus', 'a'),
    () => o.namespace('--pid', 'x'),
  ]
  for (const f of bad) t.throws(f, { code: 'INVALID' }, String(f))
  t.end()
})

t.test('capabilities', t => {
  t.same(chooseCapabilities().length, 14)
  t.same(
    chooseCapabilities(['NET_ADMIN'], ['MKNOD']).filter(c => !defaultCapabilities.includes(c)),
    ['CAP_NET_ADMIN'],
  )
  t.notOk(chooseCapabilities([], ['cap_mknod']).includes('CAP_MKNOD'))
  t.same(chooseCapabilities(['chown'], ['ALL']), ['CAP_CHOWN'])
  t.equal(chooseCapabilities(['ALL'], ['SYS_ADMIN']).length, 40)
  t.throws(() => chooseCapabilities(['NOPE']), { code: 'INVALID' })
  t.end()
})

t.test('who a user is', t => {
  const passwd = 'root:x:0:0:root:/root:/bin/sh\nbad line\nweb:x:33:33::/var/www:/bin/sh\nbig:x:99999999999:1::/:\n'
  const group = 'root:x:0:\nweb:x:33:\nvideo:x:44:root,web\nextra:x:50:web\n'
  const who = (spec: string, add: string[] = []) => identify(spec, passwd, group, add)
  t.same(who(''), { uid: 0, gid: 0, groups: [44], home: '/root' })
  t.same(who('web'), { uid: 33, gid: 33, groups: [44, 50], home: '/var/www' })
  t.same(who('33', ['50', 'video']), { uid: 33, gid: 33, groups: [44, 50], home: '/var/www' })
  t.same(who('web:video'), { uid: 33, gid: 44, groups: [], home: '/var/www' }, 'a group given stands alone')
  t.same(who('1234:5678'), { uid: 1234, gid: 5678, groups: [], home: '/' })
  for (const bad of ['nobody-here', 'web:none', '4294967295', '-1', 'big'])
    t.throws(() => who(bad), { code: 'INVALID_USER' }, bad)
  t.end()
})

t.test('frames survive any cut', t => {
  const stream = Buffer.concat([frame(1, 'hello'), frame(4, ''), frame(3, Buffer.alloc(300, 7))])
  for (const step of [1, 2, 3, 7, 1000]) {
    const seen: [number, number][] = []
    const reader = new FrameReader()
    for (let i = 0; i < stream.length; i += step)
      reader.push(stream.subarray(i, i + step), (type, p) => seen.push([type, p.length]))
    t.same(
      seen,
      [
        [1, 5],
        [4, 0],
        [3, 300],
      ],
      `cut every ${step}`,
    )
  }
  const huge = Buffer.from([1, 0x7f, 0, 0, 0])
  t.throws(() => new FrameReader().push(huge, () => undefined), RangeError)
  t.end()
})

t.test('detach keys', t => {
  const keys = parseDetachKeys('ctrl-p,ctrl-q')
  t.same(keys, Buffer.from([16, 17]))
  const typed = (text: string): string => {
    const k = new KeySequence(keys)
    return Array.from(text, c => String(k.take(Buffer.from(c)))).join('')
  }
  t.equal(typed('ab\x10\x11'), 'abdetach')
  t.equal(typed('\x10x'), '\x10x', 'what only looked like it is passed on')
  t.equal(typed('\x10\x10\x11'), '\x10detach')
  t.throws(() => parseDetachKeys('ctrl-'), { code: 'INVALID' })
  t.end()
})

t.test('hosts and resolv.conf', t => {
  t.match(hostsFile('box', '', '10.0.0.2', ['a:1.2.3.4']), /10\.0\.0\.2\tbox\n1\.2\.3\.4\ta\n$/)
  const none = { dns: [], dnsSearch: [], dnsOptions: [] }
  t.equal(
    resolvConf('nameserver 127.0.0.53\nnameserver 9.9.9.9\nsearch a b\n', none, true),
    'nameserver 9.9.9.9\nsearch a b\n',
  )
  t.equal(resolvConf('nameserver 127.0.0.53\n', none, false), 'nameserver 127.0.0.53\n')
  t.match(resolvConf('nameserver 127.0.0.53\n', none, true), /^nameserver 8\.8\.8\.8\n/)
  t.equal(
    resolvConf('nameserver 9.9.9.9\n', { dns: ['1.1.1.1'], dnsSearch: ['x'], dnsOptions: ['ndots:2'] }, true),
    'nameserver 1.1.1.1\nsearch x\noptions ndots:2\n',
  )
  t.end()
})

const hybrid = hierarchies(
  '31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n' +
    '35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n',
)
const unified = [
  {
    version: 2 as const,
    name: 'cgroup',
    mountpoint: '/x',
    controllers: ['cpu', 'memory', 'pids', 'io', 'cpuset'],
    data: '',
  },
]

t.test('limits as files: v1 and v2', t => {
  t.same(
    hybrid.map(h => [h.version, h.name, h.data]),
    [
      [1, 'cpu,cpuacct', 'cpu,cpuacct'],
      [1, 'memory', 'memory'],
      [1, 'systemd', 'none,name=systemd'],
    ],
  )
  const resources = {
    memory: { limit: 100, swap: 300 },
    cpu: { quota: 50_000, period: 100_000, shares: 512 },
    pids: { limit: -1 },
    blockIO: { throttleReadBpsDevice: [{ major: 8, minor: 0, rate: 10 }] },
  }
  const files = (all: typeof hybrid) => limitFiles(resources, all).map(f => `${f.controller} ${f.file} ${f.value}`)
  t.same(files(hybrid).slice(0, 5), [
    'memory memory.limit_in_bytes 100',
    'memory memory.memsw.limit_in_bytes 300',
    'cpu cpu.shares 512',
    'cpu cpu.cfs_period_us 100000',
    'cpu cpu.cfs_quota_us 50000',
  ])
  t.same(files(unified), [
    'memory memory.max 100',
    'memory memory.swap.max 200',
    'cpu cpu.weight 20',
    'cpu cpu.max 50000 100000',
    'pids pids.max max',
    'io io.max 8:0 rbps=10',
  ])
  const implied = limitFiles({ memory: { limit: 100 } }, hybrid).map(f => `${f.file} ${f.value} ${f.implied}`)
  t.same(
    implied,
    ['memory.limit_in_bytes 100 false', 'memory.memsw.limit_in_bytes 200 true'],
    'as much swap as memory when nothing is said',
  )
  t.same([2, 1024, 262144].map(weightOf), [1, 39, 10000])
  t.end()
})

t.test('a limit is written to its file, or refused by its name', t => {
  const dir = t.testdir({ g: { 'cpu.max': '', 'memory.max': '' } })
  const cgroup = new Cgroup('/g', [{ ...(unified[0] as (typeof unified)[number]), mountpoint: dir }])
  cgroup.limit({ cpu: { quota: 50_000, period: 100_000 }, memory: { limit: 1000 } })
  t.equal(readFileSync(join(dir, 'g/cpu.max'), 'utf8'), '50000 100000')
  t.equal(readFileSync(join(dir, 'g/memory.max'), 'utf8'), '1000')
  t.throws(() => cgroup.limit({ pids: { limit: 5 } }), {
    code: 'UNSUPPORTED',
    message: /--pids-limit: this kernel has no pids\.max/,
  })
  t.throws(() => cgroup.limit({ blockIO: { weight: 100 } }), { code: 'UNSUPPORTED', message: /--blkio-weight/ })
  const bare = new Cgroup('/g', [])
  t.throws(() => bare.limit({ memory: { limit: 1 } }), {
    code: 'UNSUPPORTED',
    message: /--memory: this machine has no memory cgroup/,
  })
  t.end()
})
