import { chmodSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { workshop } from './harness.js'

t.test('COPY: files, directories, destinations, owners, modes, links', async t => {
  const w = workshop(t, { a: 'A', sub: { x: 'X', deep: { y: 'Y' } } })
  chmodSync(join(w.context, 'a'), 0o640)
  symlinkSync('x', join(w.context, 'sub/l'))
  const { tree, image } = await w.build(`FROM scratch
COPY a /etc/passwd
COPY a /one/two/
COPY sub /s
COPY sub/x a /many/
COPY --chown=5:6 --chmod=0700 sub/x /own/x
COPY --chown=7 --chmod=u=rwX,go= sub /own/dir
WORKDIR /work/dir
COPY a .
COPY a b
COPY --link a rel/c
COPY <<one <<'two' /here/
value "\${X:-$HOME}" it's
one
$literal
two
`)
  t.strictSame(await tree(), {
    etc: 'dir 755 0:0',
    'etc/passwd': 'file 640 0:0 A',
    one: 'dir 755 0:0',
    'one/two': 'dir 755 0:0',
    'one/two/a': 'file 640 0:0 A',
    s: 'dir 755 0:0',
    's/deep': 'dir 755 0:0',
    's/deep/y': 'file 644 0:0 Y',
    's/l': 'link → x',
    's/x': 'file 644 0:0 X',
    many: 'dir 755 0:0',
    'many/a': 'file 640 0:0 A',
    'many/x': 'file 644 0:0 X',
    own: 'dir 755 5:6',
    'own/x': 'file 700 5:6 X',
    'own/dir': 'dir 700 7:7',
    'own/dir/deep': 'dir 700 7:7',
    'own/dir/deep/y': 'file 600 7:7 Y',
    'own/dir/l': 'link → x',
    'own/dir/x': 'file 600 7:7 X',
    work: 'dir 755 0:0',
    'work/dir': 'dir 755 0:0',
    'work/dir/a': 'file 640 0:0 A',
    'work/dir/b': 'file 640 0:0 A',
    'work/dir/rel': 'dir 755 0:0',
    'work/dir/rel/c': 'file 640 0:0 A',
    here: 'dir 755 0:0',
    'here/one': 'file 644 0:0 value "" it\'s\n',
    'here/two': 'file 644 0:0 $literal\n',
  })
  t.equal(image.history?.length, 11)
  t.equal(image.rootfs.diff_ids.length, 11)
})

t.test('COPY into the links of a base image follows them, inside the root', async t => {
  const w = workshop(t, { base: { usr: { lib: { old: 'old' } } }, lib: { new: 'new' }, f: 'f' })
  symlinkSync('usr/lib', join(w.context, 'base/lib'))
  symlinkSync('../../../../../outside', join(w.context, 'base/up'))
  symlinkSync('old', join(w.context, 'base/usr/lib/alias'))
  const { tree } = await w.build(`FROM scratch
COPY base /
COPY lib /lib
COPY f /up/f
COPY f /usr/lib/alias
`)
  t.match(await tree(), {
    lib: 'link → usr/lib',
    'usr/lib/new': 'file 644 0:0 new',
    'usr/lib/alias': 'link → old',
    'usr/lib/old': 'file 644 0:0 f',
    outside: 'dir 755 0:0',
    'outside/f': 'file 644 0:0 f',
  })
})

t.test('the config is what the instructions say', async t => {
  const w = workshop(t)
  const { image } = await w.build(
    `ARG G=global
FROM scratch
ARG G
ARG V=1 UNSET
ENV A=\${G} B="two words" C=$V
ENV A=changed D=$A
LABEL one=$A "two words"=x
EXPOSE 80 53/udp \${PORTS:-8000-8001}
VOLUME /data
VOLUME ["/a b"]
USER app:1
WORKDIR /w
WORKDIR sub/../rel
STOPSIGNAL SIGINT
CMD ["a", "b c"]
ENTRYPOINT run $me
SHELL ["/bin/bash", "-c"]
HEALTHCHECK --interval=30s --retries=2 CMD check it
ONBUILD RUN later
MAINTAINER me
`,
    { buildArgs: new Map([['V', '2']]) },
  )
  t.strictSame(image.config, {
    Env: [
      'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
      'A=changed',
      'B=two words',
      'C=2',
      'D=global',
    ],
    WorkingDir: '/w/rel',
    Labels: { one: 'changed', 'two words': 'x' },
    ExposedPorts: { '80/tcp': {}, '53/udp': {}, '8000/tcp': {}, '8001/tcp': {} },
    Volumes: { '/data': {}, '/a b': {} },
    User: 'app:1',
    StopSignal: 'SIGINT',
    Cmd: ['a', 'b c'],
    Entrypoint: ['/bin/sh', '-c', 'run $me'],
    Shell: ['/bin/bash', '-c'],
    Healthcheck: { Test: ['CMD-SHELL', 'check it'], Interval: 30e9, Retries: 2 },
    OnBuild: ['RUN later'],
  })
  t.equal(image.author, 'me')
  t.strictSame(image.history?.map(h => [h.created_by, h.empty_layer ?? false]).slice(0, 5), [
    ['ARG G', true],
    ['ARG V=1 UNSET', true],
    ['ENV A=global B=two words C=2', true],
    ['ENV A=changed D=global', true],
    ['LABEL one=changed two words=x', true],
  ])
})

t.test('RUN gets arguments, environment, user and directory, and its upper becomes the layer', async t => {
  const w = workshop(t)
  const { tree, image } = await w.build(
    `FROM scratch
COPY <<passwd <<group /etc/
root:x:0:0::/root:/bin/sh
app:x:5:6::/home/app:/bin/sh
passwd
extra:x:9:app
group
ARG VERSION
ARG HIDDEN=arg
ENV HIDDEN=env X=y
USER app
WORKDIR /w
RUN echo "$VERSION $HIDDEN $X $HOME $http_proxy" > out
RUN ["/bin/sh", "-c", "echo exec > exec"]
RUN <<EOF
echo one > doc
echo two >> doc
EOF
RUN cat <<A > cat && true
text
A
RUN true
`,
    {
      buildArgs: new Map([
        ['VERSION', '3'],
        ['http_proxy', 'http://p'],
      ]),
    },
  )
  const run = w.executor.seen[0]!
  t.strictSame(run.user, { uid: 5, gid: 6, groups: [9], home: '/home/app' })
  t.equal(run.cwd, '/w')
  t.ok(run.env.includes('VERSION=3'))
  t.match(await tree(), {
    out: /3 env y \/home\/app http:\/\/p\n$/,
    exec: /exec\n$/,
    doc: /one\ntwo\n$/,
    cat: /text\n$/,
  })
  t.equal(
    image.history?.find(h => h.created_by?.includes('$VERSION'))?.created_by,
    'RUN |1 VERSION=3 /bin/sh -c echo "$VERSION $HIDDEN $X $HOME $http_proxy" > out',
  )
  t.equal(image.history?.at(-1)?.empty_layer, true, 'a RUN that changes nothing makes no layer')
  t.notMatch(JSON.stringify(image), /http:\/\/p/, 'the proxy is nowhere')
})

t.test('stages: unused ones are skipped, independent ones run side by side, --from copies with owners', async t => {
  const w = workshop(t, { f: 'f', runs: {} })
  const runs = join(w.context, 'runs')
  // Each waits until the other runs: one after the other, they would fail.
  const meet = (own: string, other: string): string =>
    `: > ${runs}/${own}; for i in $(seq 1000); do test -e ${runs}/${other} && break; sleep 0.1; done; test -e ${runs}/${other}`
  const { tree, events } = await w.build(`FROM scratch AS one
RUN ${meet('one', 'two')} && echo 1 > one
FROM scratch AS two
RUN ${meet('two', 'one')} && echo 2 > two
COPY --chown=3:4 f /owned
FROM scratch AS never
RUN false
FROM one
COPY --from=two /two /owned /from2/
COPY --from=1 /t* /byindex/
`)
  t.match(await tree(), { one: /1/, 'from2/two': /2/, 'from2/owned': 'file 644 3:4 f', 'byindex/two': /2/ })
  t.equal(w.executor.most, 2)
  t.match(events[0], { type: 'plan', stages: ['one', 'two', 'stage-3'], skipped: ['never'] })
  const only = await w.build('FROM scratch AS a\nCOPY f /a\nFROM scratch AS b\nCOPY f /b\n', { target: 'a' })
  t.strictSame(Object.keys(await only.tree()), ['a'])
})

t.test('ONBUILD triggers of the base run first in the image built on it', async t => {
  const w = workshop(t, { f: 'f' })
  await w.build('FROM scratch\nONBUILD COPY f /triggered\nONBUILD ENV T=1\n', { names: ['base:1'] })
  const { tree, image } = await w.build('FROM base:1\nENV U=$T\n')
  t.match(await tree(), { triggered: 'file 644 0:0 f' })
  t.match(image.config, { Env: [/PATH/, 'T=1', 'U=1'] })
  t.notOk(image.config?.OnBuild)
})

t.test('the cache: hit by content, not by time; missed by what a step can see', async t => {
  const w = workshop(t, { f: 'f', g: 'g' })
  const text = `FROM scratch
ARG V=1
COPY f /f
RUN echo $V > v
ENV LATE=1
RUN echo late > late
`
  const first = await w.build(text)
  t.equal(first.ran.length, 3)
  utimesSync(join(w.context, 'f'), 1, 1)
  const again = await w.build(text)
  t.strictSame(again.ran, [])
  t.equal(again.manifest, first.manifest, 'the very same image')
  t.strictSame((await w.build(text, { buildArgs: new Map([['V', '2']]) })).ran, [
    'RUN echo $V > v',
    'RUN echo late > late',
  ])
  t.strictSame((await w.build(text.replace('LATE=1', 'LATE=2'))).ran, ['RUN echo late > late'])
  t.equal((await w.build(text.replace('ENV LATE', 'LABEL l'))).ran.length, 1, 'a label is not seen, a variable is')
  t.equal((await w.build(text.replace('ENV LATE=1', 'ENV LATE=1\nLABEL l=1'))).ran.length, 0)
  writeFileSync(join(w.context, 'g'), 'other')
  t.strictSame((await w.build(text)).ran, [], 'a file that is not copied')
  chmodSync(join(w.context, 'f'), 0o600)
  t.equal((await w.build(text)).ran[0], 'COPY f /f')
  t.equal((await w.build(text, { noCache: true })).ran.length, 3)
})

t.test('--explain names the input that differed, down to the file', async t => {
  const w = workshop(t, { src: { 'main.c': '1', 'b.c': '2' } })
  const text = (version: string): string => `FROM scratch
ENV V=${version}
COPY src /src
RUN echo hi > hi
`
  await w.build(text('1'))
  writeFileSync(join(w.context, 'src/main.c'), 'changed')
  const { events } = await w.build(text('2'), { explain: true })
  const misses = events.flatMap(e => (e.type === 'miss' ? [e] : []))
  t.match(misses[0], {
    nearest: 'Dockerfile:3',
    differences: [{ input: 'file main.c', was: /^content/, is: /^content/ }],
  })
  t.equal(misses[0]?.differences.length, 1)
  t.strictSame(misses[1]?.differences.map(d => d.input).sort(), ['below', 'env V'])
  t.match(
    misses[1]?.differences.find(d => d.input === 'env V'),
    { was: 'V=1', is: 'V=2' },
  )
})

t.test('with SOURCE_DATE_EPOCH the same inputs give the same image, in another store, at another time', async t => {
  const text = `FROM scratch AS a
RUN echo a > a
FROM scratch AS b
RUN echo b > b; mkdir d; echo x > d/x
FROM scratch
WORKDIR /made
COPY --from=a /a .
COPY --from=b / .
COPY f dir/
RUN echo new > new
`
  const one = workshop(t, { f: 'f' })
  const first = await one.build(text, { epoch: 1_000_000_000 })
  await t.test('later', async t => {
    const two = workshop(t, { f: 'f' })
    utimesSync(join(two.context, 'f'), 5, 5)
    await new Promise(resolve => setTimeout(resolve, 1100))
    const second = await two.build(text, { epoch: 1_000_000_000 })
    t.strictSame(second.image, first.image)
    t.equal(second.manifest, first.manifest)
    t.equal(first.image.created, '2001-09-09T01:46:40.000Z')
  })
})

t.test('a failing RUN keeps what was before, says where, and the next build goes on from there', async t => {
  const w = workshop(t)
  const text = (command: string): string => `FROM scratch
RUN echo before > before
RUN ${command}
`
  const error = await w.build(text('echo after > after; echo said; exit 3'), { debug: true }).then(
    () => undefined,
    (e: unknown) => e,
  )
  t.match(error, {
    code: 'RUN',
    message: 'run "/bin/sh -c echo after > after; echo said; exit 3": exit code 3',
    file: 'Dockerfile',
    location: { line: 3 },
    context: { exitCode: 3, before: /^sha256:/, after: /^sha256:/ },
  })
  const { context } = error as { context: Record<string, string> }
  const open = async (id: string) => await (await w.build(`FROM ${id}\n`)).tree()
  t.strictSame(Object.keys(await open(context['before']!)), ['before'])
  t.strictSame(Object.keys(await open(context['after']!)), ['after', 'before'])
  t.strictSame((await w.build(text('echo fixed > fixed'))).ran, ['RUN echo fixed > fixed'])
})

t.test('what cannot be done is refused before anything runs, or with the line of the step', async t => {
  const w = workshop(t, { f: 'f', d: {} })
  const cases: [string, string, RegExp][] = [
    ['FROM scratch AS a\nCOPY --from=b / /\nFROM scratch AS b\n', 'STAGE', /defined later/],
    ['FROM scratch AS a\nCOPY --from=a / /\n', 'STAGE', /itself/],
    ['FROM scratch\nCOPY --from=7 / /\n', 'STAGE', /no such stage/],
    ['FROM scratch\nCOPY --from=$X / /\n', 'STAGE', /not expanded/],
    ['FROM ${NONE}\n', 'STAGE', /empty after expansion/],
    ['FROM nowhere.invalid/x:1\n', 'BASE', /nowhere\.invalid\/x:1/],
    ['FROM --platform=windows/amd64 scratch\n', 'PLATFORM', /only linux/],
    ['FROM --platform=linux/s390x scratch\nRUN true\n', 'PLATFORM', /binfmt_misc/],
    ['FROM scratch\nCOPY nope /\n', 'SOURCE', /nope: no such file/],
    ['FROM scratch\nCOPY f d /x\n', 'ARGUMENTS', /end with a \//],
    ['FROM scratch\nCOPY f /x\nCOPY f /x/y\n', 'DESTINATION', /not a directory/],
    ['FROM scratch\nCOPY d /x/f\nCOPY f /x/\n', 'DESTINATION', /a directory is in the way/],
    ['FROM scratch\nCOPY --chown=app f /\n', 'USER', /no user "app"/],
    ['FROM scratch\nUSER app\nRUN true\n', 'USER', /no user "app"/],
    ['FROM scratch\nSTOPSIGNAL SIGNOPE\n', 'SIGNAL', /SIGNOPE/],
    ['FROM scratch\nEXPOSE 70000\n', 'PORT', /70000/],
    ['FROM scratch\nEXPOSE 80/http\n', 'PORT', /http/],
    ['FROM scratch\nENV A=${B:?needed}\n', 'SUBSTITUTION', /B: needed/],
    ['FROM scratch\nRUN --security=insecure true\n', 'FLAG_VALUE', /--allow security\.insecure/],
    ['FROM scratch\nRUN --network=host true\n', 'FLAG_VALUE', /--allow network\.host/],
    ['FROM scratch\nRUN --mount=type=secret,id=s,required true\n', 'SECRET', /secret "s" is required/],
    ['FROM scratch\nRUN --mount=type=ssh,required true\n', 'SECRET', /ssh agent "default"/],
    ['FROM scratch\nRUN --mount=type=bind,source=nope,target=/x true\n', 'SOURCE', /nope/],
  ]
  for (const [text, code, message] of cases) {
    const error = await w.build(text).then(
      () => undefined,
      (e: unknown) => e,
    )
    t.match(error, { code, message, file: 'Dockerfile', location: { line: Number } }, text)
  }
  await t.rejects(w.build('FROM scratch\n', { target: 'none' }), { code: 'STAGE', message: /none/ })
})

t.test('mounts: what the executor is given, and what counts for the cache', async t => {
  const w = workshop(t, { src: { m: '1' }, other: 'x' })
  const mounts = [
    'type=cache,id=c,target=cachedir,sharing=locked',
    'type=tmpfs,target=/t,size=1m',
    'type=secret,id=s,env=S,target=/s',
    'type=bind,from=tool,source=/tool,target=/b',
    'type=bind,source=src,target=/ctx,rw',
  ]
  const text = `FROM scratch AS tool
COPY src /tool
FROM scratch
RUN ${mounts.map(m => `--mount=${m}`).join(' ')} echo "$S" | wc -c > n
`
  const secrets = new Map([['s', () => Buffer.from('hush')]])
  const { image } = await w.build(text, { secrets })
  const seen = w.executor.seen[0]!
  t.match(seen.mounts, [
    { type: 'bind', target: '/cachedir', writable: true },
    { type: 'tmpfs', target: '/t', size: 1 << 20 },
    { type: 'secret', target: '/s', mode: 0o400 },
    { type: 'layers', source: '/tool', target: '/b', writable: false },
    { type: 'layers', source: '/mount', target: '/ctx', writable: true },
  ])
  t.ok(seen.env.includes('S=hush'))
  t.notMatch(JSON.stringify(image), /hush/)
  const other = new Map([['s', () => Buffer.from('other')]])
  t.strictSame((await w.build(text, { secrets: other })).ran, [], 'a secret is no input')
  writeFileSync(join(w.context, 'other'), 'y')
  t.strictSame((await w.build(text, { secrets })).ran, [])
  writeFileSync(join(w.context, 'src/m'), '2')
  t.equal((await w.build(text, { secrets })).ran.length, 2)
})
