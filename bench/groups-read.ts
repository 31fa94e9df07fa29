/** Owns the rows that read trees: walks, whole reads, listings, opens, names that are not there. */
import { join } from 'node:path'
import { each, type Bench, type Group } from './row.js'
import { startClient } from './run-client.js'

const PARALLEL = 8
/** Somebody who is not root: nobody. */
const OTHER_USER = 65534

export const walks: Group = {
  name: 'read-root',
  lowers: 'root',
  rows: [
    { id: 'walk-cold', title: 'stat walk, cold', unit: 's' },
    { id: 'walk-birth', title: 'stat walk with times of birth, cold', unit: 's' },
    { id: 'walk-warm', title: 'stat walk, warm', unit: 's' },
    { id: 'walk-user', title: 'stat walk, warm, as another user', unit: 's' },
    { id: 'walk-parallel', title: '8 parallel warm walks', unit: 's' },
    { id: 'read-cold', title: 'read every file, cold', unit: 's' },
    { id: 'read-warm', title: 'read every file, warm', unit: 's' },
  ],
  async run(b) {
    const values: Record<string, number> = {}
    const keep = (row: string, seconds: number | undefined): void => {
      if (seconds !== undefined) values[row] = seconds
    }
    if (b.wants('walk-cold')) keep('walk-cold', (await b.coldly('walk-cold', 'walk'))?.seconds)
    if (b.wants('walk-birth')) keep('walk-birth', (await b.coldly('walk-birth', 'walk', { birth: true }))?.seconds)
    // The kernel drops a directory's attributes at its first listing (atime): the second walk is the first warm one.
    if (b.wants('walk-warm', 'walk-user', 'walk-parallel')) {
      await b.measured('walk-warm', 'walk')
      await b.measured('walk-warm', 'walk')
      keep('walk-warm', (await b.measured('walk-warm', 'walk')).seconds)
    }
    if (b.wants('walk-user')) {
      // The part of the tree that everybody may read.
      const options = { path: join(b.point, 'usr'), user: OTHER_USER }
      await b.measured('walk-user', 'walk', options)
      keep('walk-user', (await b.measured('walk-user', 'walk', options)).seconds)
    }
    if (b.wants('walk-parallel')) keep('walk-parallel', await walkParallel(b))
    if (b.wants('read-cold')) keep('read-cold', (await b.coldly('read-cold', 'readAll'))?.seconds)
    if (b.wants('read-warm')) {
      await b.measured('read-warm', 'readAll')
      keep('read-warm', (await b.measured('read-warm', 'readAll')).seconds)
    }
    return values
  },
}

async function walkParallel(b: Bench): Promise<number> {
  const clients = await Promise.all(Array.from({ length: PARALLEL }, () => startClient('walk', { path: b.point })))
  return b.during('walk-parallel', PARALLEL, async () => {
    const start = process.hrtime.bigint()
    const outcomes = await Promise.all(clients.map(client => client.go()))
    const seconds = Number(process.hrtime.bigint() - start) / 1e9
    for (const { check } of outcomes) b.agree('walk-parallel', check)
    return seconds
  })
}

export const openAndList: Group = {
  name: 'read-flat',
  lowers: 'flat',
  rows: [
    { id: 'list', title: 'list a large directory, cold', unit: 's' },
    { id: 'list-long', title: 'list it with attributes, cold', unit: 's' },
    { id: 'open-read', title: 'open and read small files', unit: 'µs' },
    { id: 'missing', title: 'stat of missing names', unit: 'µs' },
  ],
  async run(b) {
    const path = join(b.point, 'flat')
    const count = b.material.sizes.files
    const values: Record<string, number> = {}
    const keep = (row: string, value: number | undefined): void => {
      if (value !== undefined) values[row] = value
    }
    if (b.wants('list')) keep('list', (await b.coldly('list', 'list', { path }))?.seconds)
    if (b.wants('list-long')) keep('list-long', (await b.coldly('list-long', 'listLong', { path }))?.seconds)
    if (b.wants('open-read')) {
      await b.placed('open-read', 'openRead', { path, count })
      keep('open-read', each(await b.placed('open-read', 'openRead', { path, count })))
    }
    // Each name is asked for once: what is measured is to learn that there is none, not to remember it.
    if (b.wants('missing')) keep('missing', each(await b.placed('missing', 'missing', { path, count })))
    return values
  },
}
