/** Owns what a container's root shall be, from the command line: `--rootfs DIR`, or an image (pulled when missing). */
import { resolve } from 'node:path'
import type { ImageConfig } from '../build/store.js'
import type { ContainerConfig, ContainerRoot } from '../runtime/config.js'
import type { StoredImage } from '../image/images.js'
import { UsageError, type Output } from './command.js'
import type { ImageDefaults } from './run-options.js'

export interface ResolvedRoot {
  of: ContainerRoot
  /** The image's own defaults; undefined for a directory. */
  image: ImageDefaults | undefined
  command: string[]
}

export interface RootArgs {
  rootfs?: string | undefined
  pull?: string | undefined
  platform?: string | undefined
  transport?: string | undefined
  quiet?: boolean | undefined
}

/** Throws ImageError when there is no such image and it cannot be pulled. */
export async function resolveRoot(
  args: RootArgs,
  words: readonly string[],
  root: string,
  stderr: Output,
): Promise<ResolvedRoot> {
  if (args.transport === 'fuse-native')
    throw new UsageError(
      'transport fuse-native cannot serve containers: it is not told who asks, so files would get the wrong owner',
    )
  if (args.rootfs !== undefined)
    return { of: { kind: 'directory', path: resolve(args.rootfs) }, image: undefined, command: [...words] }
  const [reference, ...command] = words
  if (reference === undefined) throw new UsageError('needs an image, or --rootfs DIR')
  const [{ Store }, { resolveImage }] = await Promise.all([import('../image/store.js'), import('../image/images.js')])
  const store = Store.open(root)
  const image = await findOrPull(
    () => resolveImage(store, reference),
    args,
    () => pull(root, reference, args, stderr),
  )
  // Until its container.json says so: no gc may take the image from under a container in the making.
  const { pinImage } = await import('../image/pin.js')
  const pin = await pinImage(store, image, 'a container being made')
  process.once('exit', () => pin.release())
  return {
    of: { kind: 'image', reference, id: image.id, layers: image.layers.map(l => l.diffID) },
    image: defaultsOf(image),
    command,
  }
}

async function findOrPull(find: () => StoredImage, args: RootArgs, fetch: () => Promise<void>): Promise<StoredImage> {
  if (args.pull !== 'always')
    try {
      return find()
    } catch (error) {
      if ((error as { code?: string }).code !== 'IMAGE_NOT_FOUND' || args.pull === 'never') throw error
    }
  await fetch()
  return find()
}

async function pull(root: string, reference: string, { platform, quiet }: RootArgs, stderr: Output): Promise<void> {
  const { main } = await import('./main.js')
  const argv = [
    '--root',
    root,
    'pull',
    '--quiet',
    ...(platform === undefined ? [] : ['--platform', platform]),
    reference,
  ]
  if (quiet !== true) stderr.write(`Unable to find image '${reference}' locally, pulling it\n`)
  const nowhere = { write: () => true }
  const code = await main(argv, { stdin: process.stdin, stdout: nowhere, stderr })
  if (code !== 0)
    throw Object.assign(new Error(`run ${reference}: the image cannot be pulled`), { code: 'NO_SUCH_IMAGE' })
}

type Healthcheck = NonNullable<NonNullable<ImageConfig['config']>['Healthcheck']>

/** What the image's config says about the process. */
function defaultsOf({ config }: StoredImage): ImageDefaults {
  const c = config.config ?? {}
  return {
    entrypoint: c.Entrypoint ?? [],
    command: c.Cmd ?? [],
    env: c.Env ?? [],
    workdir: c.WorkingDir ?? '',
    user: c.User ?? '',
    exposed: Object.keys(c.ExposedPorts ?? {}),
    volumes: Object.keys(c.Volumes ?? {}),
    labels: c.Labels ?? {},
    stopSignal: c.StopSignal ?? '',
    health: healthOf((c as { Healthcheck?: Healthcheck }).Healthcheck),
  }
}

function healthOf(h: Healthcheck | undefined): ContainerConfig['health'] {
  if (h?.Test === undefined || h.Test.length === 0) return undefined
  const seconds = (ns: number | undefined, otherwise: number): number => (ns ? ns / 1e9 : otherwise)
  return {
    test: h.Test,
    interval: seconds(h.Interval, 30),
    timeout: seconds(h.Timeout, 30),
    startPeriod: seconds(h.StartPeriod, 0),
    startInterval: h.StartInterval ? h.StartInterval / 1e9 : undefined,
    retries: h.Retries || 3,
  }
}
