/**
 * `node dist/bench/build.js [--repeat N] [--base TAR] [--only WORD] [--json FILE]`: builds beside `buildah bud` and `podman build`, in one run,
 * interleaved. Every measurement is a line of JSON; at the end a table of medians and ratios to the faster peer.
 * `--base` is a root filesystem tar of Debian with what test/build/real-images.ts names (mmdebstrap --include=…), for the rows of
 * real images.
 * Cold: --no-cache with the base image in the store. Peers run as root on their native overlay driver with chroot
 * isolation, the fastest they have; Lamina's steps run in namespaces of their own all the same.
 */
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { PATH, realImages, registrySecret } from '../test/build/real-images.js'
import { makeTinyBase } from '../test/build/tiny-base.js'
import { clearPeers, environment, has, lamina, measure, peer, run, type Row } from './side-by-side.js'

const { values: options } = parseArgs({
  options: { repeat: { type: 'string' }, base: { type: 'string' }, json: { type: 'string' }, only: { type: 'string' } },
})
const scratch = mkdtempSync(join(tmpdir(), 'lamina-bench-build-'))

const env = environment(scratch)

interface Builder {
  readonly name: string
  /** `more`: secrets, and with them the network. */
  build(directory: string, tag: string, cold: boolean, more?: readonly string[]): string[]
  importRoot(tar: string, tag: string): void
}

function containers(name: 'buildah' | 'podman', verb: string): Builder {
  const build = [...peer(name, scratch), verb, '--isolation', 'chroot', '-q']
  return {
    name,
    build: (directory, tag, cold, more = []) =>
      [...build, '--layers'].concat(cold ? ['--no-cache'] : [], more, '-t', tag, directory),
    importRoot: (tar, tag) => {
      const context = mkdtempSync(join(scratch, 'import-'))
      execFileSync('cp', [tar, join(context, 'root.tar')])
      writeFileSync(join(context, 'Dockerfile'), `FROM scratch\nADD root.tar /\nENV PATH=${PATH}\n`)
      run([...build, '-t', tag, context], env)
      rmSync(context, { recursive: true })
    },
  }
}

const all: Builder[] = [
  {
    name: 'lamina',
    build: (directory, tag, cold, more) =>
      [...lamina, 'build', '-q', '--network', more === undefined ? 'none' : 'host'].concat(
        cold ? ['--no-cache'] : [],
        more ?? [],
        '-t',
        tag,
        directory,
      ),
    importRoot: (tar, tag) => void run([...lamina, 'import', '--change', `ENV PATH=${PATH}`, tar, tag], env),
  },
  containers('buildah', 'bud'),
  containers('podman', 'build'),
]
const builders = all.filter(({ name }) => name === 'lamina' || has(name))

function row(title: string, directory: string, cold: boolean, more?: readonly string[]): Row {
  const commands = builders.map(each => [
    each.name,
    each.build(directory, `localhost/bench-${each.name}:1`, cold, more),
  ])
  return { title, commands: Object.fromEntries(commands) as Row['commands'] }
}

function context(name: string, dockerfile: string, fill: (directory: string) => void = () => {}): string {
  const directory = join(scratch, name)
  mkdirSync(directory)
  fill(directory)
  writeFileSync(join(directory, 'Dockerfile'), dockerfile)
  return directory
}

function manyFiles(directory: string): void {
  for (let d = 0; d < 100; d++) {
    mkdirSync(join(directory, `src/d${d}`), { recursive: true })
    for (let f = 0; f < 100; f++) writeFileSync(join(directory, `src/d${d}/f${f}`), `file ${d} ${f}\n`.repeat(20))
  }
}

try {
  const tiny = join(scratch, 'tiny')
  makeTinyBase(tiny)
  execFileSync('tar', ['-C', tiny, '-cf', join(scratch, 'tiny.tar'), '.'])
  const bases: [string, string][] = [[join(scratch, 'tiny.tar'), 'localhost/tiny:1']]
  if (options.base !== undefined) bases.push([options.base, 'localhost/dev:1'])
  for (const [tar, name] of bases) for (const builder of builders) builder.importRoot(tar, name)

  const small = context(
    'small',
    'FROM localhost/tiny:1\nCOPY f /f\nRUN cat /f > /g\nENV A=1\nCMD ["cat", "/g"]\n',
    directory => writeFileSync(join(directory, 'f'), 'f\n'),
  )
  const twenty = Array.from({ length: 18 }, (_, i) => `RUN echo ${i} > /step${i}`)
  const large = context('large', `FROM localhost/tiny:1\nCOPY src /src\n${twenty.join('\n')}\nCMD ["x"]\n`, manyFiles)
  const contexts: [title: string, directory: string, more?: readonly string[]][] = [
    ['small', small],
    ['20 steps, 10,000 files', large],
  ]
  if (options.base !== undefined) {
    const real = realImages(scratch, 'localhost/dev:1')
    contexts.push(
      ['C to scratch', real.c],
      ['Python', real.python],
      ['Node with npm ci', real.node, registrySecret()],
      ['nginx', real.nginx],
    )
  }
  const rows = contexts
    .flatMap(([title, directory, more]) => [
      row(`${title}, cold`, directory, true, more),
      row(`${title}, cached`, directory, false, more),
    ])
    .filter(({ title }) => options.only === undefined || title.includes(options.only))
  measure({ rows, repeat: Number(options.repeat ?? 5), env, json: options.json })
} finally {
  clearPeers(scratch, env)
  rmSync(scratch, { recursive: true, force: true })
}
