import t from 'tap'
import { mkdirSync, readFileSync, rmdirSync } from 'node:fs'
import { join } from 'node:path'
import { Cgroup } from '../../lib/runtime/cgroup/cgroup.js'
import { hierarchies, withController } from '../../lib/runtime/cgroup/hierarchy.js'

const all = process.getuid?.() === 0 ? hierarchies() : []
const cpuset = withController(all, 'cpuset')
const skip = cpuset?.version === 1 ? false : 'needs root and a cpuset hierarchy of version 1'

t.test(
  'a parent that another command has made and not filled yet is no trap (entering would be ENOSPC)',
  { skip },
  async t => {
    if (cpuset === undefined) return
    const name = `lamina-test-${process.pid}`
    const parent = join(cpuset.mountpoint, name)
    mkdirSync(parent)
    const cgroup = new Cgroup(`/${name}/child`, [cpuset])
    t.teardown(async () => {
      await cgroup.remove()
      try {
        rmdirSync(parent)
      } catch {
        // It went with its last child.
      }
    })
    t.equal(readFileSync(join(parent, 'cpuset.cpus'), 'latin1').trim(), '', 'as mkdir leaves it')
    cgroup.create()
    for (const file of ['cpuset.cpus', 'cpuset.mems'])
      t.not(readFileSync(join(cgroup.directory(cpuset), file), 'latin1').trim(), '', file)
  },
)
