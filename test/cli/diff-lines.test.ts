/** `lamina diff NAME` as people read it: from the upper alone, and into a pipe whose reader goes away. */
import t from 'tap'
import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { storeRoot } from '../../lib/roots.js'
import { S } from '../../lib/sys/constants.js'
import { mknodat } from '../../lib/sys/dir.js'
import { lamina } from './lamina.js'

const skip = process.geteuid?.() === 0 ? false : 'not root'

t.test('a moved directory is two lines, with what changed inside it, however much it holds', { skip }, async t => {
  const base = mkdtempSync(join(tmpdir(), 'diff-'))
  mkdirSync(join(base, 'usr/man/deep'), { recursive: true })
  for (const name of ['a', 'b', 'c']) writeFileSync(join(base, 'usr/man/deep', name), name)
  t.match(await lamina('create', '--rootfs', base, '--name', 'moved', '--network', 'none', 'true'), {
    code: 0,
    stderr: '',
  })
  t.teardown(() => lamina('rm', 'moved'))
  const containers = join(storeRoot(), 'containers')
  const upper = join(containers, readdirSync(containers).find(name => !name.startsWith('.')) ?? '', 'upper')
  mkdirSync(join(upper, 'usr/man2'), { recursive: true })
  t.equal(mknodat(-100, join(upper, 'usr/man'), S.IFCHR, 0), 0)
  const set = spawnSync('setfattr', ['-n', 'trusted.overlay.redirect', '-v', 'man', join(upper, 'usr/man2')])
  t.equal(set.status, 0)
  writeFileSync(join(upper, 'usr/man2/new'), '')
  const said = await lamina('diff', 'moved')
  t.equal(said.stdout, 'C /usr\nD /usr/man\nA /usr/man2\nA /usr/man2/new\n')
  const whole = await lamina('diff', '--no-renames', 'moved')
  t.match(whole.stdout, /A \/usr\/man2\/deep\/b\n/, 'and --no-renames lists all that is below it')
})

t.test('a reader that goes away ends the command without a word', t => {
  const base = mkdtempSync(join(tmpdir(), 'diff-'))
  for (const name of ['before', 'after']) mkdirSync(join(base, name))
  for (let i = 0; i < 5000; i++)
    writeFileSync(join(base, 'after', `a name that is long enough to fill a pipe soon ${i}`), '')
  const program = fileURLToPath(new URL('../../bin/lamina.js', import.meta.url))
  const script = '"$1" "$2" diff --name-only "$3/before" "$3/after" | head -1'
  const { stdout, stderr } = spawnSync('sh', ['-c', script, 'sh', process.execPath, program, base], {
    encoding: 'utf8',
  })
  t.equal(stdout, '/a name that is long enough to fill a pipe soon 0\n')
  t.equal(stderr, '')
  t.end()
})
