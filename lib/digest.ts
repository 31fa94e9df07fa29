/**
 * Owns content addresses: branded digests of the OCI image specification, so that they cannot be swapped for each other.
 * Format: `sha256:` and 64 lower-case hex digits (image-spec, descriptor.md, "digests"). Other algorithms are refused.
 * Invariant: a value of these types has been checked by `parseDigest` or made from a finished hash.
 */
import { createHash } from 'node:crypto'

/** Address of bytes as they are stored and sent: a blob (a compressed layer, a manifest, a config). */
export type Digest = string & { readonly __brand: 'Digest' }
/** Address of a layer's uncompressed tar. */
export type DiffID = string & { readonly __brand: 'DiffID' }
/** Address of a stack of layers applied in order (image-spec, config.md, "Layer ChainID"). */
export type ChainID = string & { readonly __brand: 'ChainID' }

const form = /^sha256:[0-9a-f]{64}$/

export function isDigest(text: unknown): text is Digest {
  return typeof text === 'string' && form.test(text)
}

/** A digest from text that came in, or undefined when it has not the one form that is understood. */
export function parseDigest(text: string): Digest | undefined {
  return isDigest(text) ? text : undefined
}

/** A digest from the 32 bytes of a finished SHA-256, or from its hex digits. */
export function digestOf(sha256: Buffer | string): Digest {
  return `sha256:${typeof sha256 === 'string' ? sha256 : sha256.toString('hex')}` as Digest
}

/** The 64 hex digits: the name of the file that a store keeps it in. */
export function hexOf(digest: Digest | DiffID | ChainID): string {
  return digest.slice('sha256:'.length)
}

/** Digest of a whole buffer. */
export function digestBytes(bytes: Uint8Array | string): Digest {
  return digestOf(createHash('sha256').update(bytes).digest('hex'))
}

/** The chain one layer above `parent` (undefined: the layer is the base, whose chain ID is its diffID). */
export function chainID(parent: ChainID | undefined, layer: DiffID): ChainID {
  if (parent === undefined) return layer as string as ChainID
  return digestBytes(`${parent} ${layer}`) as string as ChainID
}

/** The chain of all `layers`, base first. There is none of no layers. */
export function chainOf(layers: readonly DiffID[]): ChainID | undefined {
  return chainsOf(layers).at(-1)
}

/** The chains of the first layer, the first two, and so on to all of them. */
export function chainsOf(layers: readonly DiffID[]): ChainID[] {
  const chains: ChainID[] = []
  for (const layer of layers) chains.push(chainID(chains.at(-1), layer))
  return chains
}
