/** RUN for real: the union mounted, a process in namespaces of its own. */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { RuntimeExecutor } from '../../lib/cli/build-executor.js'
import { Store } from '../../lib/image/store.js'
import { workshop, type Workshop } from './harness.js'
import { makeTinyBase } from './tiny-base.js'

const skip = process.getuid?.() !== 0 ? 'needs root' : !existsSync('/dev/fuse') ? 'needs /dev/fuse' : false

interface Real extends Workshop {
  readonly real: RuntimeExecutor
}

async function real(t: Test, files: Parameters<Test['testdir']>[0] = {}): Promise<Real> {
  const w = workshop(t, { ...(files as object), base: {} })
  makeTinyBase(join(w.context, 'base'))
  await w.build('FROM scratch\nCOPY base /\nRUN_PLACEHOLDER'.replace('\nRUN_PLACEHOLDER', '\nENV PATH=/bin\n'), {
    names: ['tiny'],
  })
  const store = Store.open(w.root)
  const tmp = join(w.root, 'tmp-executor')
  mkdirSync(tmp)
  return {
    ...w,
    real: new RuntimeExecutor(store, tmp, { path: async () => undefined }, 'fuse', line => t.comment(line)),
  }
}

t.test('commands run in the image, and only what they changed is the layer', { skip }, async t => {
  const w = await real(t)
  const built = await w.build(
    `FROM tiny
RUN echo hello > /greeting; mkdir -p /a/b; echo x > /a/b/c; rm /bin/uname; chmod 700 /home/app
USER app
WORKDIR /home/app
RUN id > /tmp/id; pwd >> /tmp/id; echo $HOME >> /tmp/id
USER root
RUN cat /greeting > /copy; ls /proc/1/exe /dev/null /sys/kernel > /tmp/seen; hostname > /tmp/name
RUN true
`,
    { executor: w.real },
  )
  const tree = await built.tree()
  t.match(tree, {
    greeting: /hello\n$/,
    'a/b/c': /x\n$/,
    copy: /hello\n$/,
    'home/app': 'dir 700 0:0',
    'tmp/id': /uid=1000\(app\) gid=1000\(app\) groups=1000\(app\),2000\(extra\)\n\/home\/app\n\/home\/app\n$/,
  })
  t.notOk('bin/uname' in tree, 'what was removed is gone')
  t.notOk('proc' in tree || 'sys' in tree || 'dev' in tree || 'etc/hosts' in tree, 'no mountpoint stays')
  t.equal(built.image.history?.at(-1)?.empty_layer, true, 'RUN true makes no layer')
  t.strictSame((await w.build('FROM tiny\nRUN true\n', { executor: w.real })).image.rootfs.diff_ids.length, 1)
  const left = spawnSync('find', ['/sys/fs/cgroup', '-name', `build-${process.pid}-*`], { encoding: 'utf8' }).stdout
  t.equal(left, '', 'no cgroup is left')
  t.notMatch(readFileSync('/proc/self/mountinfo', 'utf8'), w.root, 'nothing is mounted')
})

t.test('a step is isolated: no host files, no network, no way to the secrets afterwards', { skip }, async t => {
  const w = await real(t)
  const built = await w.build(
    `FROM tiny
RUN --mount=type=secret,id=s,target=/run/secret/s,mode=0440,gid=1000 --mount=type=secret,id=s,env=S cat /run/secret/s > /dev/null && stat -c '%a %u:%g' /run/secret/s > /perm; echo "$S" | wc -c > /len; [ -e /work ] || echo none > /host
RUN ls /sys/class/net > /nets; cat /proc/net/route | wc -l > /routes; ls / > /root.txt
RUN mount -t tmpfs x /tmp 2> /mount.txt || true
`,
    { executor: w.real, secrets: new Map([['s', () => Buffer.from('top secret')]]) },
  )
  const tree = await built.tree()
  t.match(tree, {
    perm: /440 0:1000\n$/,
    len: /11\n$/,
    host: /none\n$/,
    nets: / lo\n$/,
    routes: / 1\n$/,
    'mount.txt': /denied|permission|not permitted/i,
  })
  t.notMatch(JSON.stringify(tree), /top secret/)
  t.notOk(
    Object.keys(tree).some(path => path.startsWith('run')),
    'the mountpoints of the secret are gone',
  )
})

t.test('mounts: cache directories live on, binds do not, tmpfs vanishes', { skip }, async t => {
  const w = await real(t, { src: { f: 'from the context' } })
  const text = (n: number): string => `FROM tiny AS other
RUN echo from a stage > /made
FROM tiny
RUN --mount=type=cache,target=/cache,id=c,uid=1000,mode=0750 echo ${n} >> /cache/log; cat /cache/log > /log; stat -c '%a %u' /cache >> /log
RUN --mount=type=bind,source=src,target=/ctx --mount=type=bind,from=other,source=/made,target=/made cat /ctx/f /made > /both; echo no > /ctx/new || echo refused > /ro
RUN --mount=type=bind,source=src,target=/ctx,rw echo yes > /ctx/new && cat /ctx/new > /wrote
RUN --mount=type=tmpfs,target=/t echo x > /t/x; ls /t > /listed
`
  const first = await w.build(text(1), { executor: w.real })
  t.match(await first.tree(), {
    log: /1\n750 1000\n$/,
    both: /from the contextfrom a stage\n$/,
    ro: /refused/,
    wrote: /yes/,
    listed: /x\n$/,
  })
  const second = await w.build(text(2), { executor: w.real })
  const tree = await second.tree()
  t.match(tree['log'], /1\n2\n750/)
  t.notOk(
    ['cache', 'ctx', 't', 'made'].some(name => name in tree),
    Object.keys(tree).join(' '),
  )
})

t.test('a command that fails, is not there, floods, or leaves children behind', { skip }, async t => {
  const w = await real(t)
  const fails = async (line: string): Promise<unknown> =>
    w.build(`FROM tiny\n${line}\n`, { executor: w.real }).then(
      () => undefined,
      (e: unknown) => e,
    )
  t.match(await fails('RUN exit 7'), { code: 'RUN', context: { exitCode: 7 } })
  t.match(await fails('RUN ["/no/such"]'), { code: 'RUN', context: { exitCode: 127 }, message: /not found/ })
  t.match(await fails('RUN ["/etc/passwd"]'), { code: 'RUN', context: { exitCode: 126 } })
  t.match(await fails(`RUN sh -c 'kill -9 $$'; exit $?`), { code: 'RUN', context: { exitCode: 137 } })
  const flood = await w.build('FROM tiny\nRUN dd if=/dev/zero bs=1048576 count=64 2>/dev/null; echo end > /end\n', {
    executor: w.real,
  })
  const bytes = flood.events.reduce((n, e) => n + (e.type === 'output' ? e.data.length : 0), 0)
  t.equal(bytes, 64 << 20, 'all output arrives')
  // That this ends at all says that a child left behind does not hold the build.
  const daemon = await w.build('FROM tiny\nRUN setsid sleep 100000 > /dev/null 2>&1 & echo started > /started\n', {
    executor: w.real,
  })
  t.match(await daemon.tree(), { started: /started/ })
})

t.test('an interrupted build leaves nothing running, and the cache is good', { skip }, async t => {
  const w = await real(t)
  const text = 'FROM tiny\nRUN echo one > /one\nRUN sleep 1000\n'
  const stop = new AbortController()
  const waiting = w.build(text, {
    executor: w.real,
    signal: stop.signal,
    listener: event => {
      if (event.type === 'start' && event.text.includes('sleep')) setTimeout(() => stop.abort(), 500)
    },
  })
  await t.rejects(waiting, { code: 'CANCELLED' })
  t.notMatch(readFileSync('/proc/self/mountinfo', 'utf8'), w.root)
  const again = await w.build(text.replace('sleep 1000', 'echo two > /two'), { executor: w.real })
  t.strictSame(again.ran, ['RUN echo two > /two'])
})
