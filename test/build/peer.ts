/** Builds the corpus here and with buildah and compares: the whole tree, the config, which steps made a layer. */
import { execFile, execFileSync } from 'node:child_process'
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { gzipSync } from 'node:zlib'
import type { Test } from 'tap'
import { ImageStore } from '../../lib/build/image-store.js'
import { LayersTree, EmptyTree } from '../../lib/build/layer-tree.js'
import { readBuildArgs } from '../../lib/build/scope.js'
import type { ImageConfig } from '../../lib/build/store.js'
import { RuntimeExecutor } from '../../lib/cli/build-executor.js'
import { resolveImage } from '../../lib/image/images.js'
import { loadImages } from '../../lib/image/load.js'
import { Store } from '../../lib/image/store.js'
import { context, type Sample } from './corpus.js'
import { describe, workshop } from './harness.js'
import { makeTinyBase } from './tiny-base.js'

const run = promisify(execFile)

export function peerMissing(): string | false {
  if (process.getuid?.() !== 0) return 'needs root'
  try {
    execFileSync('buildah', ['--version'])
    return false
  } catch {
    return 'needs buildah'
  }
}

export async function compareAll(t: Test, samples: readonly Sample[]): Promise<void> {
  const w = workshop(t, { ...context, base: {} })
  const base = join(w.context, 'base')
  makeTinyBase(base)
  const scratch = join(w.root, '../peer')
  mkdirSync(scratch)
  execFileSync('tar', [
    '--sort=name',
    '-C',
    join(w.context, 'dir'),
    '--owner=11',
    '--group=12',
    '-cf',
    join(w.context, 'archive.tar'),
    '.',
  ])
  execFileSync('tar', [
    '-C',
    join(w.context, 'other'),
    '--owner=0',
    '--group=0',
    '-czf',
    join(w.context, 'archive.tar.gz'),
    '.',
  ])
  writeFileSync(join(w.context, 'plain.gz'), gzipSync('plain\n', { level: 1 }))
  const ignore = ['base', ...context['.dockerignore'].split('\n').filter(Boolean)]
  writeFileSync(join(w.context, '.dockerignore'), `${ignore.join('\n')}\n`)

  const peer = (args: readonly string[]) =>
    run(
      'buildah',
      ['--storage-driver', 'vfs', '--root', join(scratch, 'root'), '--runroot', join(scratch, 'run'), ...args],
      {
        cwd: scratch,
        maxBuffer: 16 << 20,
      },
    )
  t.teardown(() => rmSync(scratch, { recursive: true, force: true }))
  writeFileSync(join(scratch, 'tiny'), 'FROM scratch\nCOPY . /\nENV PATH=/bin\n')
  await w.build('FROM scratch\nCOPY base /\nENV PATH=/bin\n', { names: ['tiny', 'localhost/tiny'] })
  await peer([
    'bud',
    '--isolation',
    'chroot',
    '--format',
    'docker',
    '-q',
    '-t',
    'tiny',
    '-f',
    join(scratch, 'tiny'),
    base,
  ])

  const tmp = join(scratch, 'executor')
  mkdirSync(tmp)
  const executor = new RuntimeExecutor(Store.open(w.root), tmp, { path: async () => undefined }, 'fuse', line =>
    t.comment(line),
  )
  for (const [i, sample] of samples.entries()) {
    await t.test(sample.name, async t => {
      const { args = [], target } = sample
      // buildah 1.28 writes no list of layers at all for an image without one: every image gets a file.
      const text =
        /^(COPY|ADD|RUN|WORKDIR)/im.test(sample.text) || /tiny/.test(sample.text)
          ? sample.text
          : `${sample.text}COPY a.txt /\n`
      const ours = await w.build(text, {
        ignore,
        executor,
        buildArgs: readBuildArgs(args, {}),
        ...(target === undefined ? {} : { target }),
      })
      const file = join(scratch, `Dockerfile.${i}`)
      writeFileSync(file, text)
      await peer([
        'bud',
        '--isolation',
        'chroot',
        '--format',
        'docker',
        '--layers',
        '-q',
        '-t',
        `s${i}`,
        '-f',
        file,
        ...args.flatMap(a => ['--build-arg', a]),
        ...(target === undefined ? [] : ['--target', target]),
        w.context,
      ])
      const archive = join(scratch, `s${i}.tar`)
      await peer(['push', '-q', `s${i}`, `docker-archive:${archive}:theirs:${i}`])
      const theirs = await load(w.root, archive, `theirs:${i}`)
      rmSync(archive)
      const tree = await ours.tree()
      const found = {
        tree: [tree, withoutTraces(theirs.tree, tree)],
        config: [comparable(ours.image), comparable(theirs.image)],
      } as const
      for (const what of ['tree', 'config'] as const) {
        const [here, there] = found[what]
        // A known difference must be there: when theirs changes, the note has to go.
        if (sample.differs?.what === what) t.notSame(here, there, `${what} differs: ${sample.differs.because}`)
        else t.strictSame(here, there, what)
      }
      t.strictSame(keywords(ours.image), keywords(theirs.image), 'history')
    })
  }
}

async function load(
  root: string,
  archive: string,
  name: string,
): Promise<{ tree: Record<string, string>; image: ImageConfig }> {
  const store = Store.open(root)
  const { createReadStream } = await import('node:fs')
  await loadImages(store, createReadStream(archive))
  const image = resolveImage(store, name)
  const images = await ImageStore.open(store, async reference => resolveImage(store, reference))
  const layers = image.layers.map(l => l.diffID)
  const tree = layers.length === 0 ? new EmptyTree() : new LayersTree(images.openLayers(layers).toReversed())
  try {
    return { tree: describe(tree), image: image.config as unknown as ImageConfig }
  } finally {
    tree.close()
    images.close()
  }
}

/** Mountpoints that the other one leaves in an image (/proc, /sys, /etc/hosts …) and we do not. */
function withoutTraces(theirs: Record<string, string>, ours: Record<string, string>): Record<string, string> {
  const traces = /^(dev|proc|sys|run)(\/|$)|^etc\/(hosts|resolv\.conf|hostname)$|^etc$/
  return Object.fromEntries(
    Object.entries(theirs).filter(
      ([path, what]) => path in ours || !traces.test(path) || !/^dir|^file \d+ 0:0 $/.test(what),
    ),
  )
}

/** What counts of a config, in one form: absent, null and empty are the same; Env has no order. */
function comparable({ config = {}, author, os, architecture }: ImageConfig): unknown {
  const {
    Env,
    Labels = {},
    Healthcheck,
    ...rest
  } = config as Record<string, unknown> & { Labels?: Record<string, string>; Env?: string[] }
  const { 'io.buildah.version': _, ...labels } = Labels
  const plain: Record<string, unknown> = {
    ...rest,
    Env: [...(Env ?? [])].sort(),
    Labels: labels,
    author,
    os,
    architecture,
    Healthcheck,
  }
  for (const key of Object.keys(plain)) {
    const value = plain[key]
    const none =
      value === undefined ||
      (key === 'WorkingDir' && value === '/') ||
      value === null ||
      value === '' ||
      value === false
    const hollow = typeof value === 'object' && value !== null && Object.keys(value).length === 0
    if (none || hollow || ['Hostname', 'Domainname', 'Image', 'ArgsEscaped'].includes(key)) delete plain[key]
  }
  return plain
}

/** The instructions that made the image, in order. */
function keywords(image: ImageConfig): string[] {
  return (image.history ?? [])
    .map(entry =>
      (entry.created_by ?? '').replace(/^\/bin\/sh -c #\(nop\)\s+/, '').replace(/^(\/bin\/sh -\w*c|\|\d) /, 'RUN $&'),
    )
    .map(text => /^\w+/.exec(text)?.[0].toUpperCase() ?? '')
}
