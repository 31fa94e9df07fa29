/**
 * Turns directories into the one indexed lower that an image of them is mounted from: `index-lower.js STORE DIR…`, base
 * first, whiteouts as `.wh.` names. Prints `{ path, objects }`. A process of its own, because making a target is one call.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { ensureChain } from '../../lib/image/chain.js'
import { Store } from '../../lib/image/store.js'
import { ImageWriter } from '../../lib/image/writer.js'

const [root = '', ...directories] = process.argv.slice(2)
const store = Store.open(root)
const writer = await ImageWriter.open(store)
const diffIDs = []
for (const directory of directories) {
  const args = [
    '--format=posix',
    '--atime-preserve=system',
    '--xattrs',
    '--xattrs-include=*',
    '--acls',
    '--numeric-owner',
    '-cf',
    '-',
    '.',
  ]
  const tar = spawn('tar', ['-C', directory, ...args], { stdio: ['ignore', 'pipe', 'inherit'] })
  const ended = once(tar, 'exit')
  const tree = await writer.readArchive(tar.stdout as AsyncIterable<Buffer>)
  const [code] = (await ended) as [number | null]
  if (code !== 0) throw new Error(`tar: ${code}`)
  diffIDs.push((await writer.addTree(tree, { compression: 'none' })).diffID)
}
process.stdout.write(JSON.stringify({ path: ensureChain(store, store.tmp, diffIDs), objects: store.objects }))
writer.close()
