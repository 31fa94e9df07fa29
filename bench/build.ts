/**
 * `node dist/bench/build.js [--repeat N] [--base TAR] [--json FILE]`: builds beside `buildah bud` and `podman build`, in one run,
 * interleaved. Every measurement is a line of JSON; at the end a table of medians and ratios to the faster peer.
 * `--base` is a root filesystem with gcc and make (mmdebstrap --include=gcc,libc6-dev,make) for the C row.
 * Cold: --no-cache with the base image in the store. Peers run as root on their native overlay driver with chroot
 * isolation, the fastest they have; Lamina's steps run in namespaces of their own all the same.
 */
import { execFileSync, spawnSync } from 'node:child_process'
import { appendFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { makeTinyBase } from '../test/build/tiny-base.js'

const { values: options } = parseArgs({
  options: { repeat: { type: 'string' }, base: { type: 'string' }, json: { type: 'string' } },
})
const repeat = Number(options.repeat ?? 5)
const scratch = mkdtempSync(join(tmpdir(), 'lamina-bench-build-'))
const lamina = new URL('../bin/lamina.js', import.meta.url).pathname

interface Builder {
  readonly name: string
  build(directory: string, name: string, cold: boolean): void
  importRoot(tar: string, name: string): void
}

const env: NodeJS.ProcessEnv = { ...process.env, LAMINA_ROOT: join(scratch, 'store'), LAMINA_RUN: join(scratch, 'run') }
// Node reads every certificate of this at start; no peer does.
delete env['NODE_EXTRA_CA_CERTS']

function run(command: string, args: readonly string[]): void {
  const { status, stderr, error } = spawnSync(command, args, { env, encoding: 'utf8', maxBuffer: 64 << 20 })
  if (status !== 0) throw new Error(`${command} ${args.join(' ')}: ${error?.message ?? stderr}`)
}

function containers(name: 'buildah' | 'podman', verb: string, more: readonly string[]): Builder {
  const root = [
    '--storage-driver',
    'overlay',
    '--root',
    join(scratch, 'peers'),
    '--runroot',
    join(scratch, 'peers-run'),
  ]
  return {
    name,
    build: (directory, tag, cold) =>
      run(name, [...root, verb, ...more, '--layers', '-q', ...(cold ? ['--no-cache'] : []), '-t', tag, directory]),
    importRoot: (tar, tag) => {
      const context = mkdtempSync(join(scratch, 'import-'))
      execFileSync('cp', [tar, join(context, 'root.tar')])
      writeFileSync(join(context, 'Dockerfile'), 'FROM scratch\nADD root.tar /\nENV PATH=/usr/bin:/bin\n')
      run(name, [...root, verb, ...more, '-q', '-t', tag, context])
      rmSync(context, { recursive: true })
    },
  }
}

const all: Builder[] = [
  {
    name: 'lamina',
    build: (directory, tag, cold) =>
      run(process.execPath, [
        lamina,
        'build',
        '-q',
        '--network',
        'none',
        ...(cold ? ['--no-cache'] : []),
        '-t',
        tag,
        directory,
      ]),
    importRoot: (tar, tag) => run(process.execPath, [lamina, 'import', '--change', 'ENV PATH=/usr/bin:/bin', tar, tag]),
  },
  containers('buildah', 'bud', ['--isolation', 'chroot']),
  containers('podman', 'build', ['--isolation', 'chroot']),
]
const builders = all.filter(({ name }) => name === 'lamina' || spawnSync(name, ['--version']).status === 0)

interface Row {
  readonly title: string
  readonly directory: string
  readonly cold: boolean
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
  const rows: Row[] = [
    { title: 'small, cold', directory: small, cold: true },
    { title: 'small, cached', directory: small, cold: false },
    { title: '20 steps, 10,000 files, cold', directory: large, cold: true },
    { title: '20 steps, 10,000 files, cached', directory: large, cold: false },
  ]
  if (options.base !== undefined) {
    const program = context(
      'c',
      'FROM localhost/dev:1 AS build\nWORKDIR /src\nCOPY main.c .\nRUN gcc -O2 -static -o hello main.c\nFROM scratch\nCOPY --from=build /src/hello /hello\nENTRYPOINT ["/hello"]\n',
      directory => writeFileSync(join(directory, 'main.c'), '#include <stdio.h>\nint main() { puts("hello"); }\n'),
    )
    rows.push({ title: 'C to scratch, cold', directory: program, cold: true })
    rows.push({ title: 'C to scratch, cached', directory: program, cold: false })
  }
  const samples = new Map<string, number[]>()
  for (let n = 0; n < repeat; n++)
    for (const row of rows)
      for (const builder of builders) {
        const start = process.hrtime.bigint()
        builder.build(row.directory, `localhost/bench-${builder.name}:1`, row.cold)
        const seconds = Number(process.hrtime.bigint() - start) / 1e9
        const key = `${row.title}\0${builder.name}`
        samples.set(key, [...(samples.get(key) ?? []), seconds])
        const line = JSON.stringify({ row: row.title, builder: builder.name, seconds })
        process.stdout.write(`${line}\n`)
        if (options.json !== undefined) appendFileSync(options.json, `${line}\n`)
      }
  const median = (title: string, name: string): number =>
    (samples.get(`${title}\0${name}`) ?? []).toSorted((a, b) => a - b)[Math.floor(repeat / 2)] ?? NaN
  const names = builders.map(b => b.name)
  process.stdout.write(
    `\n| build | ${names.join(' | ')} | lamina / faster peer |\n|${' --- |'.repeat(names.length + 2)}\n`,
  )
  for (const { title } of rows) {
    const best = Math.min(...names.filter(n => n !== 'lamina').map(n => median(title, n)))
    const cells = names.map(n => `${median(title, n).toFixed(2)} s`)
    process.stdout.write(`| ${title} | ${cells.join(' | ')} | ${(median(title, 'lamina') / best).toFixed(2)}× |\n`)
  }
} finally {
  for (const name of ['buildah', 'podman'] as const)
    if (builders.some(b => b.name === name))
      spawnSync(name, [
        '--storage-driver',
        'overlay',
        '--root',
        join(scratch, 'peers'),
        '--runroot',
        join(scratch, 'peers-run'),
        name === 'podman' ? 'system' : 'rmi',
        ...(name === 'podman' ? ['prune', '-af'] : ['-af']),
      ])
  rmSync(scratch, { recursive: true, force: true })
}
