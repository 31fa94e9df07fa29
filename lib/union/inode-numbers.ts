/**
 * Owns the inode numbers shown: unique in the union, the same before and after copy-up and in every mount of the same
 * layers. overlayfs calls it xino: the number of the layer's filesystem in the high bits, the inode's own below.
 * Format: slot * 2^44 + ino; slot 0 is the upper's filesystem (the first lower's without one), further ones in the order
 * of the layers. JavaScript holds 2^53, so that is 512 filesystems and 2^44 inodes each; beyond either the number is mixed
 * into the range (unique with overwhelming odds, and still the same every time).
 */

const SPAN = 2 ** 44
const SLOTS = 512

export class InodeNumbers {
  readonly #slots = new Map<number, number>()

  /** The slot of a filesystem (device number or index id), given on first sight. */
  slot(fsid: number): number {
    const known = this.#slots.get(fsid)
    if (known !== undefined) return known
    const slot = this.#slots.size
    this.#slots.set(fsid, slot)
    return slot
  }

  /** The number shown for inode `ino` of filesystem `fsid`. */
  of(fsid: number, ino: number): number {
    return this.at(this.slot(fsid), ino)
  }

  /** The inode of filesystem `fsid` that the number `shown` is of: `of` the other way; -1 where it was mixed. */
  below(fsid: number, shown: number): number {
    const slot = this.slot(fsid)
    const ino = shown - slot * SPAN
    return slot < SLOTS / 2 && ino >= 0 && ino < SPAN ? (ino <= 0x7fffffff ? ino | 0 : ino) : -1
  }

  /** The upper 32 bits of `of` for every inode of filesystem `fsid` below 2^32; -1 where it would be mixed. */
  high(fsid: number): number {
    const slot = this.slot(fsid)
    return slot < SLOTS / 2 ? slot * (SPAN / 0x100000000) : -1
  }

  at(slot: number, ino: number): number {
    if (slot === 0 && ino < SPAN) return ino
    if (slot < SLOTS && ino < SPAN) return slot * SPAN + ino
    return mix(slot, ino)
  }
}

function mix(slot: number, ino: number): number {
  let h = (ino >>> 0) ^ Math.imul(slot + 1, 0x9e3779b1)
  h = Math.imul(h ^ (h >>> 15), 0x85ebca6b)
  const high = Math.floor(ino / 0x100000000)
  const low = (h ^ Math.imul(high, 0xc2b2ae35)) >>> 0
  // The top slot's half is left to mixed numbers, so that they meet plain ones only past 256 filesystems.
  return 2 ** 52 + ((high ^ slot) & 0xfffff) * 0x100000000 + low
}
