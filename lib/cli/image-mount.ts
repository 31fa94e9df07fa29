/**
 * Owns `mount IMAGE`: what of an image becomes a mount, and for `--writable` the container that keeps the changes (so
 * diff, commit and rm know it by name).
 */
import { join } from 'node:path'
import type { Driver, MountSpec } from '../mount/spec.js'
import { UsageError, type Context } from './command.js'

export interface ImageMount {
  readonly stack: Pick<MountSpec, 'lowers' | 'readOnly' | 'upper' | 'work' | 'driver'>
  /** The container with the changes. */
  readonly name: string | undefined
  /** From now on a server's process uses the image: it is kept as long as that lives. */
  servedBy(pid: number, mountpoint: string): Promise<void>
}

/**
 * `writable` undefined: read-only; '': a new container with a made-up name. `driver` undefined: the container's. Throws
 * ImageError, RuntimeError.
 */
export async function imageMount(
  text: string,
  writable: string | undefined,
  driver: Driver | undefined,
  context: Context,
): Promise<ImageMount> {
  const [{ Store }, { resolveImage }, { imageLowers }, { pinImage }] = await Promise.all([
    import('../image/store.js'),
    import('../image/images.js'),
    import('../image/lowers.js'),
    import('../image/pin.js'),
  ])
  const store = Store.open(context.root)
  const image = resolveImage(store, text)
  const pin = await pinImage(store, image, 'a mount being made')
  process.once('exit', () => pin.release())
  const lowers = imageLowers(store, image)
  const servedBy = async (pid: number, mountpoint: string): Promise<void> => {
    await pinImage(store, image, `the mount at ${mountpoint}`, { pid })
    pin.release()
  }
  if (writable === undefined) return { stack: { lowers, readOnly: true }, name: undefined, servedBy }

  const { Containers } = await import('../runtime/containers.js')
  const containers = new Containers(context.root, context.runRoot)
  let container = writable === '' ? undefined : (await containers.all()).find(c => c.config.name === writable)
  if (container === undefined) {
    const [{ command: create }, { parse }] = await Promise.all([import('./commands/create.js'), import('./parse.js')])
    let id = ''
    const stdout = { write: (chunk: string | Uint8Array) => ((id += String(chunk)), true) }
    // A command is asked for where the image has none; whoever starts the container later may give another.
    const chosen = driver === undefined ? [] : ['--driver', driver]
    const words = [...chosen, ...(writable === '' ? [] : ['--name', writable]), image.id, '/bin/sh']
    await create.handler(parse(create, words), { ...context, stdout })
    container = await containers.find(id.trim())
  }
  const { root } = container.config
  if (root.kind !== 'image' || root.id !== image.id)
    throw new UsageError(`container ${writable} does not stand on ${text}`)
  const kept = container.config.driver ?? 'fuse'
  if (driver !== undefined && driver !== kept)
    throw new UsageError(
      `container ${writable} was made with --driver ${kept}, and what it has changed is kept its way`,
    )
  const [upper, work] = [join(container.directory, 'upper'), join(container.directory, 'work')]
  const stack = { lowers, upper, work, driver: kept }
  return { stack, name: container.config.name, servedBy }
}
