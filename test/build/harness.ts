/** Builds in a store of its own, with an executor that runs on this machine (a fake) unless another is given. */
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { closeSync, mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Test } from 'tap'
import { build, type BuildResult } from '../../lib/build/build.js'
import { parseDockerfile } from '../../lib/build/dockerfile.js'
import type { BuildEvent } from '../../lib/build/event.js'
import type { Execution, Executor } from '../../lib/build/executor.js'
import { ignoreOf } from '../../lib/build/ignore.js'
import { ImageStore } from '../../lib/build/image-store.js'
import { LayersTree } from '../../lib/build/layer-tree.js'
import { HOST } from '../../lib/build/platform.js'
import type { BuildOptions } from '../../lib/build/session.js'
import { DirectoryTree, isDirectory, isSymlink, join as joinPath, type Tree } from '../../lib/build/tree.js'
import { resolveImage } from '../../lib/image/images.js'
import { Store } from '../../lib/image/store.js'

/** Runs the command with the upper directory as its working directory: enough to see what a step is given. */
export class FakeExecutor implements Executor {
  readonly seen: Execution[] = []
  active = 0
  most = 0

  async execute(execution: Execution): Promise<{ exitCode: number }> {
    this.seen.push(execution)
    this.most = Math.max(this.most, ++this.active)
    const { args, env, upper, signal, output } = execution
    const child = spawn(args[0]!, args.slice(1), {
      cwd: upper,
      env: Object.fromEntries(env.map(e => [e.slice(0, e.indexOf('=')), e.slice(e.indexOf('=') + 1)])),
      signal,
    })
    child.stdout.on('data', (data: Buffer) => output('stdout', data))
    child.stderr.on('data', (data: Buffer) => output('stderr', data))
    try {
      return await new Promise((resolve, reject) => {
        child.on('error', reject)
        child.on('close', code => resolve({ exitCode: code ?? 137 }))
      })
    } finally {
      this.active--
    }
  }
}

export interface Workshop {
  readonly root: string
  readonly context: string
  readonly executor: FakeExecutor
  build(dockerfile: string, options?: Partial<BuildOptions> & Extra): Promise<Built>
}

interface Extra {
  readonly target?: string
  readonly names?: readonly string[]
  readonly ignore?: readonly string[]
  readonly executor?: Executor
  readonly listener?: (event: BuildEvent) => void
}

export interface Built extends BuildResult {
  readonly events: BuildEvent[]
  /** Texts of the steps that were not in the cache. */
  readonly ran: string[]
  /** Path → what is there: `file 644 0:0 content`, `dir 755 0:0`, `link → target`. */
  tree(): Promise<Record<string, string>>
}

export function workshop(t: Test, files: NonNullable<Parameters<Test['testdir']>[0]> = {}): Workshop {
  const dir = t.testdir({ context: files })
  const root = join(dir, 'store')
  const context = join(dir, 'context')
  mkdirSync(context, { recursive: true })
  const executor = new FakeExecutor()
  return {
    root,
    context,
    executor,
    build: async (text, options = {}) => {
      const { target, names = [], ignore = [], executor: other, listener, ...rest } = options
      const store = Store.open(root)
      const images = await ImageStore.open(store, async reference => resolveImage(store, reference))
      const tree = new DirectoryTree(context)
      const events: BuildEvent[] = []
      try {
        const result = await build({
          file: parseDockerfile(text),
          target,
          context: { tree, ignore: ignoreOf(ignore) },
          options: { ...defaults, ...rest },
          names,
          store: images,
          executor: other ?? executor,
          listener: event => {
            events.push(event)
            listener?.(event)
          },
        })
        return { ...result, events, ran: ranOf(events), tree: () => show(root, result.image.rootfs.diff_ids) }
      } catch (error) {
        Object.assign(error as object, { events })
        throw error
      } finally {
        tree.close()
        images.close()
      }
    },
  }
}

export const defaults: BuildOptions = {
  buildArgs: new Map(),
  platform: HOST,
  noCache: false,
  pull: false,
  secrets: new Map(),
  ssh: new Map(),
  labels: new Map(),
  network: 'default',
  addHosts: [],
  shmSize: undefined,
  allow: new Set(),
  epoch: undefined,
  explain: false,
  debug: false,
  signal: new AbortController().signal,
}

function ranOf(events: readonly BuildEvent[]): string[] {
  const texts = new Map<number, string>()
  const ran: string[] = []
  for (const event of events) {
    if (event.type === 'start') texts.set(event.step, event.text)
    if (event.type === 'done' && !event.cached && !event.metadata) ran.push(texts.get(event.step) ?? '')
  }
  return ran
}

async function show(root: string, layers: BuildResult['image']['rootfs']['diff_ids']): Promise<Record<string, string>> {
  const store = Store.open(root)
  const images = await ImageStore.open(store, async reference => resolveImage(store, reference))
  const tree = new LayersTree(images.openLayers(layers).toReversed())
  try {
    return describe(tree)
  } finally {
    tree.close()
    images.close()
  }
}

export function describe(tree: Tree): Record<string, string> {
  const found: Record<string, string> = {}
  const visit = (path: string): void => {
    for (const name of tree.list(path)) {
      const here = joinPath(path, name)
      const st = tree.stat(here)!
      const owner = `${(st.mode & 0o7777).toString(8)} ${st.uid}:${st.gid}`
      if (isDirectory(st)) {
        found[here] = `dir ${owner}`
        visit(here)
      } else if (isSymlink(st)) found[here] = `link → ${tree.readlink(here)}`
      else {
        const fd = tree.open(here)
        const bytes = readFileSync(fd)
        const content = bytes.length > 1000 ? createHash('sha256').update(bytes).digest('hex') : bytes.toString('utf8')
        found[here] = `file ${owner} ${content}`
        closeSync(fd)
      }
    }
  }
  visit('')
  return found
}
