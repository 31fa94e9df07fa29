/** How Lamina's long-lived processes are started. */
import t from 'tap'
import { spawnSync } from 'node:child_process'
import { residentFlags } from '../lib/resident.js'

t.test('any Node takes the options of the start', async t => {
  const { status, stdout, stderr } = spawnSync(process.execPath, [...residentFlags, '-p', '1 + 1'], {
    encoding: 'utf8',
  })
  t.same([status, stdout, stderr], [0, '2\n', ''])
})

t.test('the compiler is told to wait without a module of Node, and without a word', async t => {
  const module = JSON.stringify(new URL('../lib/resident.js', import.meta.url))
  const script = `import(${module}).then(({ optimizeLater }) => {
    const before = process.moduleLoadList.length
    optimizeLater()
    const loaded = process.moduleLoadList.slice(before).filter(name => name.startsWith('NativeModule'))
    console.log(JSON.stringify([loaded, process.noDeprecation === true]))
  })`
  const { stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8' })
  t.same(JSON.parse(stdout), [[], false])
  t.equal(stderr, '')
})
