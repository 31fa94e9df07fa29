/** Owns the rows that write: small files, one large file, copies up. */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { each, frequency, rate, type Group } from './row.js'

/** Files that are copied up for one number. */
const COPIES = 2000

export const small: Group = {
  name: 'small-files',
  lowers: 'none',
  rows: [
    { id: 'create', title: 'create small files', unit: 'µs' },
    { id: 'unlink', title: 'unlink them', unit: 'µs' },
  ],
  async run(b) {
    const count = b.material.sizes.files
    const [warm, path] = [join(b.point, 'warm'), join(b.point, 'made')]
    for (const directory of [warm, path]) mkdirSync(directory)
    // Nothing is unlinked before all is created: see runner.ts.
    await b.measured('warm', 'create', { path: warm, count: 200, size: 100 })
    const create = await b.placed('create', 'create', { path, count, size: 100 })
    if (!b.wants('unlink')) return { create: each(create) }
    const unlink = await b.placed('unlink', 'unlinkMany', { path, count })
    return { create: each(create), unlink: each(unlink) }
  },
}

export const large: Group = {
  name: 'large-file',
  lowers: 'none',
  rows: [
    { id: 'write-seq', title: 'sequential write', unit: 'MB/s' },
    { id: 'rewrite-seq', title: 'sequential write over what is there', unit: 'MB/s' },
    { id: 'read-seq', title: 'sequential read, warm', unit: 'MB/s' },
    { id: 'read-random', title: 'random 4k read, warm', unit: 'IOPS' },
    { id: 'write-random', title: 'random 4k write', unit: 'IOPS' },
    { id: 'write-fsync', title: 'random 4k write, fsync each 32', unit: 'IOPS' },
  ],
  async run(b) {
    const size = b.material.sizes.bigMiB << 20
    const path = join(b.point, 'large')
    b.settle()
    b.warm()
    const write = await b.measured('write-seq', 'writeSequential', { path, size })
    const values: Record<string, number> = { 'write-seq': rate(write) }
    if (b.wants('rewrite-seq')) {
      b.settle()
      values['rewrite-seq'] = rate(await b.measured('rewrite-seq', 'writeSequential', { path, size }))
    }
    b.settle()
    if (b.wants('read-seq')) {
      await b.measured('read-seq', 'readSequential', { path })
      values['read-seq'] = rate(await b.measured('read-seq', 'readSequential', { path }))
    }
    if (b.wants('read-random'))
      values['read-random'] = frequency(await b.measured('read-random', 'readRandom', { path, size, count: 50_000 }))
    if (b.wants('write-random')) {
      values['write-random'] = frequency(await b.measured('write-random', 'writeRandom', { path, size, count: 20_000 }))
      b.settle()
    }
    if (b.wants('write-fsync')) {
      const options = { path, size, count: 2000, fsyncEvery: 32 }
      values['write-fsync'] = frequency(await b.measured('write-fsync', 'writeRandom', options))
    }
    return values
  },
}

/** Reading a large file of the lower for the first time through this mount. */
export const largeCold: Group = {
  name: 'large-first',
  lowers: 'big',
  rows: [
    { id: 'read-seq-first', title: 'sequential read, first through this mount', unit: 'MB/s' },
    { id: 'read-seq-cold', title: 'sequential read, cold', unit: 'MB/s' },
    { id: 'read-random-cold', title: 'random 4k read, cold', unit: 'IOPS' },
  ],
  async run(b) {
    const path = join(b.point, 'big')
    const size = b.material.sizes.bigMiB << 20
    const values: Record<string, number> = {}
    if (b.wants('read-seq-cold')) {
      b.warm()
      const cold = await b.coldly('read-seq-cold', 'readSequential', { path })
      if (cold !== undefined) values['read-seq-cold'] = rate(cold)
    }
    if (b.wants('read-random-cold')) {
      const cold = await b.coldly('read-random-cold', 'readRandom', { path, size, count: 2000 })
      if (cold !== undefined) values['read-random-cold'] = frequency(cold)
    }
    if (b.wants('read-seq-first')) {
      // The lower is in the page cache, by whichever name; the mount is new.
      await b.measured('read-seq-first', 'readSequential', { path })
      await b.cold('mount')
      values['read-seq-first'] = rate(await b.measured('read-seq-first', 'readSequential', { path }))
    }
    return values
  },
}

export const copyUp: Group = {
  name: 'copy-up',
  lowers: 'flat',
  without: ['plain'],
  rows: [
    { id: 'copyup-append', title: 'copy-up of a small file by append', unit: 'µs' },
    { id: 'copyup-chmod', title: 'copy-up of a small file by chmod', unit: 'µs' },
  ],
  async run(b) {
    const count = Math.min(COPIES, b.material.sizes.files)
    const values: Record<string, number> = {}
    const changed = async (row: string, work: 'append' | 'chmodMany', point: string): Promise<void> => {
      const path = join(point, 'flat')
      // Names, attributes and contents are known: what is left to measure is the copy-up.
      await b.measured('listed', 'listLong', { path })
      await b.measured('read', 'openRead', { path, count })
      b.settle()
      values[row] = each(await b.placed(row, work, { path, count }))
    }
    if (b.wants('copyup-append')) await changed('copyup-append', 'append', b.point)
    // On a stack of its own, where nothing is copied up yet.
    if (b.wants('copyup-chmod')) await changed('copyup-chmod', 'chmodMany', (await b.another()).point)
    return values
  },
}

export const appendBig: Group = {
  name: 'append-big',
  lowers: 'big',
  without: ['plain'],
  rows: [{ id: 'append-big', title: 'append 1 byte to a large lower file', unit: 's' }],
  async run(b) {
    const path = join(b.point, 'big')
    // In the page cache for every peer alike: else the first one in the run reads it from the disk.
    await b.measured('big', 'readSequential', { path })
    b.settle()
    return { 'append-big': (await b.measured('append-big', 'appendOne', { path })).seconds }
  },
}
