/**
 * Owns where the page's data comes from: datasets inside the page (gzip, base64), and, when a server stands behind it, file
 * data and comparisons by request. Everything foreign is handled as text or bytes, never as markup.
 */
import { type Dataset, decodeDataset } from '../dataset.js'

/** A dataset on show; `index` names it to the server. */
export interface Loaded {
  readonly data: Dataset
  readonly index: number
}

/** Whether `lamina explore` is behind the page. A saved file has only what it holds. */
export const served = document.body.dataset['served'] === '1'

export async function embedded(): Promise<Loaded[]> {
  const scripts = [...document.querySelectorAll<HTMLScriptElement>('script[data-set]')]
  return Promise.all(
    scripts.map(async (script, index) => {
      const data = await unpack(fromBase64(script.textContent))
      script.remove()
      return { data, index }
    }),
  )
}

function fromBase64(text: string): Uint8Array<ArrayBuffer> {
  const binary = atob(text.trim())
  const bytes = new Uint8Array(binary.length)
  for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i)
  return bytes
}

async function unpack(gzip: Uint8Array<ArrayBuffer>): Promise<Dataset> {
  const stream = new Blob([gzip]).stream().pipeThrough(new DecompressionStream('gzip'))
  return decodeDataset(new Uint8Array(await new Response(stream).arrayBuffer()))
}

/** Asks the server to compare with another image. Rejects with the server's own words. */
export async function compareWith(image: string): Promise<Loaded> {
  const response = await fetch(`compare?image=${encodeURIComponent(image)}`)
  if (!response.ok) throw new Error(await response.text())
  const index = Number(response.headers.get('x-set'))
  return { data: await unpack(new Uint8Array(await response.arrayBuffer())), index }
}

/** Names of images that can be compared with. */
export async function images(): Promise<string[]> {
  if (!served) return []
  const response = await fetch('images')
  return response.ok ? ((await response.json()) as string[]) : []
}

export function contentUrl(set: Loaded, node: number, event: number, download = false): string {
  return `content?set=${set.index}&node=${node}&event=${event}${download ? '&download=1' : ''}`
}

/** What can be said about a file's data. */
export type Content =
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'binary'; readonly bytes: Uint8Array }
  | { readonly kind: 'large'; readonly size: number }
  | { readonly kind: 'absent' }

const VIEW_LIMIT = 1 << 20

export async function contentOf(set: Loaded, node: number, event: number): Promise<Content> {
  const size = set.data.size[event] as number
  if (size === 0) return { kind: 'text', text: '' }
  const text = set.data.info.texts?.[event]
  if (text !== undefined) return { kind: 'text', text }
  if (!served) return { kind: 'absent' }
  if (size > VIEW_LIMIT) return { kind: 'large', size }
  const response = await fetch(contentUrl(set, node, event))
  if (!response.ok) throw new Error(await response.text())
  const bytes = new Uint8Array(await response.arrayBuffer())
  if (bytes.includes(0)) return { kind: 'binary', bytes }
  try {
    return { kind: 'text', text: new TextDecoder('utf-8', { fatal: true }).decode(bytes) }
  } catch {
    return { kind: 'binary', bytes }
  }
}
