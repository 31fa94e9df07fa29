/**
 * Owns what a name on the command line of diff, layers, explore, ci, cat, ls, cp and find stands for: an image, a
 * container, a layer, a directory, or the image in an archive; opened as layers that can be read without mounting anything.
 * Forms: `image:REF`, `container:NAME`, `layer:DIGEST`, `dir:PATH`, `archive:PATH` say which; without, a path (`/x`, `./x`,
 * `../x`, `.`) is a directory or, where it leads to a file, an archive; then a container's name or ID is looked for, then
 * an image, then a layer's diffID (or its beginning). An OCI layout's directory is `archive:` too.
 * Invariant: a layer is opened once per command, so two images that share layers share the `Layer` objects, which is what
 * makes comparing them cheap. All paths are text; layers are topmost first.
 */
import { readdirSync, statSync } from 'node:fs'
import { join, resolve } from 'node:path'
import type { DiffID } from '../digest.js'
import type { StoredImage } from '../image/images.js'
import type { Session, Store } from '../image/store.js'
import type { Layer } from '../layer/layer.js'
import type { Container, Containers } from '../runtime/containers.js'
import { bytesOf } from '../bytes.js'

export class OperandError extends Error {
  override readonly name = 'OperandError'
  readonly code: string
  constructor(code: 'NOT_FOUND' | 'UNSUPPORTED', message: string) {
    super(message)
    this.code = code
  }
}

export type Operand = {
  /** As given. */
  readonly name: string
  /** Topmost first. */
  readonly layers: readonly Layer[]
  /** What the operand is compared with when it is alone: topmost first. Empty: nothing. */
  readonly base: readonly Layer[]
} & (
  | { readonly kind: 'image'; readonly image: StoredImage }
  | { readonly kind: 'container'; readonly container: Container }
  | { readonly kind: 'layer'; readonly diffID: DiffID; readonly image: StoredImage | undefined }
  | { readonly kind: 'directory'; readonly path: string }
)

const FORM = /^(image|container|layer|dir|archive):(.+)$/s

/** Opens operands, and closes all of them together. */
export class Operands {
  readonly #root: string
  readonly #runRoot: string
  readonly #layers = new Map<string, Layer>()
  readonly #sessions: Session[] = []
  #store: Store | undefined

  constructor(root: string, runRoot: string) {
    this.#root = root
    this.#runRoot = runRoot
  }

  async store(): Promise<Store> {
    if (this.#store === undefined) {
      const { Store } = await import('../image/store.js')
      this.#store = Store.open(this.#root)
    }
    return this.#store
  }

  /** Throws coded errors: NOT_FOUND, IMAGE_NOT_FOUND, NO_SUCH_CONTAINER, and those of opening. */
  async open(text: string): Promise<Operand> {
    const [, form, rest = ''] = FORM.exec(text) ?? []
    if (form === 'dir') return this.#directory(text, rest)
    if (form === 'container') return this.#container(text, await this.#findContainer(rest))
    if (form === 'image') return this.image(rest)
    if (form === 'layer') return this.#layer(text, rest)
    if (form === 'archive') return this.#archive(text, rest)
    if (/^(\/|\.\.?(\/|$))/.test(text))
      return statSync(text, { throwIfNoEntry: false })?.isFile() === true
        ? this.#archive(text, text)
        : this.#directory(text, text)
    const container = await containerNamed(() => this.#containers(), text)
    if (container !== undefined) return this.#container(text, container)
    try {
      return await this.image(text)
    } catch (error) {
      if ((error as { code?: unknown }).code !== 'IMAGE_NOT_FOUND') throw error
      if (!/^(sha256:)?[0-9a-f]{6,64}$/.test(text)) {
        throw new OperandError(
          'NOT_FOUND',
          `find ${text}: no such image or container (a directory begins with / or ./)`,
        )
      }
      return this.#layer(text, text)
    }
  }

  /** An image by reference or ID. */
  async image(reference: string): Promise<Extract<Operand, { kind: 'image' }>> {
    const { resolveImage } = await import('../image/images.js')
    const store = await this.store()
    return this.#image(reference, store, resolveImage(store, reference))
  }

  async #image(name: string, store: Store, image: StoredImage): Promise<Extract<Operand, { kind: 'image' }>> {
    const layers = await this.stack(
      image.layers.map(l => l.diffID),
      store,
    )
    return { kind: 'image', name, image, layers, base: layers.slice(1) }
  }

  /** The image in an archive or OCI layout, read into a store of its own that goes away with the command. */
  async #archive(name: string, path: string): Promise<Operand> {
    const [{ Store }, { loadImages }] = await Promise.all([import('../image/store.js'), import('../image/load.js')])
    const store = Store.open(join((await this.scratch()).path, 'store'))
    const images = await loadImages(store, path)
    const [image] = images
    if (image === undefined || images.length > 1)
      throw new OperandError('UNSUPPORTED', `open ${name}: it has ${images.length} images; load it and name one`)
    return this.#image(name, store, image)
  }

  /** A directory in the store that goes away with the command. */
  async scratch(): Promise<Session> {
    const session = (await this.store()).session()
    this.#sessions.push(session)
    return session
  }

  /** Layers of the store by diffID (base first), opened: topmost first. */
  async stack(diffIDs: readonly DiffID[], from?: Store): Promise<Layer[]> {
    const [{ openLayers }, { openIndex }] = await Promise.all([
      import('../image/chain.js'),
      import('../layer/indexed.js'),
    ])
    const store = from ?? (await this.store())
    const open = (path: string): Layer => this.#open(path, () => openIndex(bytesOf(path), bytesOf(store.objects)))
    return openLayers(store, diffIDs, open).reverse()
  }

  #open(key: string, open: () => Layer): Layer {
    let layer = this.#layers.get(key)
    if (layer === undefined) this.#layers.set(key, (layer = open()))
    return layer
  }

  async #openDirectory(path: string): Promise<Layer> {
    const { openDirectoryLayer } = await import('../layer/directory.js')
    return this.#open(`dir:${path}`, () => openDirectoryLayer(bytesOf(path)))
  }

  async #directory(name: string, path: string): Promise<Operand> {
    const absolute = resolve(path)
    return { kind: 'directory', name, path: absolute, layers: [await this.#openDirectory(absolute)], base: [] }
  }

  async #containers(): Promise<Containers> {
    const { Containers } = await import('../runtime/containers.js')
    return new Containers(this.#root, this.#runRoot)
  }

  async #findContainer(text: string): Promise<Container> {
    return (await this.#containers()).find(text)
  }

  async #container(name: string, container: Container): Promise<Operand> {
    const { root } = container.config
    const base =
      root.kind === 'directory' ? [await this.#openDirectory(root.path)] : await this.#chain(root.layers as DiffID[])
    const { containerUpper } = await import('./container-base.js')
    const key = `container:${container.directory}`
    const upper = this.#layers.get(key) ?? (await containerUpper(container, base))
    this.#layers.set(key, upper)
    return { kind: 'container', name, container, layers: [upper, ...base], base }
  }

  /** All layers as the one flattened index that is mounted: a single read. */
  async #chain(diffIDs: readonly DiffID[]): Promise<Layer[]> {
    if (diffIDs.length === 0) return []
    const [{ ensureChain }, { openIndex }] = await Promise.all([
      import('../image/chain.js'),
      import('../layer/indexed.js'),
    ])
    const store = await this.store()
    const path = ensureChain(store, store.tmp, diffIDs)
    return [this.#open(path, () => openIndex(bytesOf(path), bytesOf(store.objects)))]
  }

  /** A layer, with what lies below it in the first image that has it. */
  async #layer(name: string, text: string): Promise<Operand> {
    const store = await this.store()
    const hex = text.replace(/^sha256:/, '')
    const found = readdirSync(join(store.root, 'layers')).filter(file => file.startsWith(hex))
    const [first] = found
    if (first === undefined) throw new OperandError('NOT_FOUND', `find ${name}: no such image, container or layer`)
    if (found.length > 1) throw new OperandError('NOT_FOUND', `find ${name}: ${found.length} layers begin with it`)
    const diffID = `sha256:${first}` as DiffID
    const { listImages } = await import('../image/images.js')
    const image = listImages(store).find(i => i.layers.some(l => l.diffID === diffID))
    const below =
      image?.layers
        .slice(
          0,
          image.layers.findIndex(l => l.diffID === diffID),
        )
        .map(l => l.diffID) ?? []
    const layers = await this.stack([...below, diffID])
    return { kind: 'layer', name, diffID, image, layers, base: layers.slice(1) }
  }

  close(): void {
    for (const layer of this.#layers.values()) layer.close()
    this.#layers.clear()
    for (const session of this.#sessions.splice(0)) session.close()
  }
}

/** The container that `text` names; undefined when there is none. `containers` is asked for when it can be a name or id at all. */
export async function containerNamed(
  containers: () => Containers | Promise<Containers>,
  text: string,
): Promise<Container | undefined> {
  if (!/^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/.test(text)) return undefined
  try {
    return await (await containers()).find(text)
  } catch (error) {
    if ((error as { code?: unknown }).code === 'NO_SUCH_CONTAINER') return undefined
    throw error
  }
}

/** `IMAGE:PATH` → its parts: the path is what follows the last colon that a `/` follows. Undefined when there is none. */
export function splitPath(text: string): { readonly name: string; readonly path: string } | undefined {
  const at = text.lastIndexOf(':/')
  return at <= 0 || /^(image|container|layer|dir|archive)$/.test(text.slice(0, at))
    ? undefined
    : { name: text.slice(0, at), path: text.slice(at + 1) }
}

/** What made each layer of an image (base first): history entries that are not empty, as image configs pair them. */
export function instructionsOf(image: StoredImage): string[] {
  const history = (image.config.history ?? []).filter(h => h.empty_layer !== true)
  return image.layers.map((_, i) => history[i]?.created_by ?? '')
}
