/** Owns a union over one layer, driven in process by a test: its tree can be looked at, and nothing stands between. */
import { mkdirSync, mkdtempSync } from 'node:fs'
import { join } from 'node:path'
import type { Test } from 'tap'
import type { Layer } from '../../lib/layer/layer.js'
import type { Caller } from '../../lib/union/filesystem.js'
import { Tree } from '../../lib/union/tree.js'
import { Union } from '../../lib/union/union.js'
import { type HostOptions, TestHost } from '../posix/union-host.js'

export const caller: Caller = { uid: 0, gid: 0, pid: 1, umask: 0, supplementaryGid: -1 }

export interface Driven {
  readonly tree: Tree
  readonly fs: Union
}

/** With an upper of its own below `scratch`; it ends with `t`. */
export function unionOver(
  t: Pick<Test, 'teardown'>,
  scratch: string,
  layer: Layer,
  host: HostOptions = { passthrough: true },
): Driven {
  const place = mkdtempSync(join(scratch, 'union-'))
  for (const d of ['upper', 'work']) mkdirSync(join(place, d))
  const tree = new Tree({
    lowers: [layer],
    upper: { path: join(place, 'upper') },
    work: { path: join(place, 'work') },
  })
  const fs = new Union(tree)
  fs.init(new TestHost(host))
  t.teardown(() => fs.destroy())
  return { tree, fs }
}
