import t from 'tap'
import { spawnSync } from 'node:child_process'
import { chmodSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { candidates, scripts } from '../../lib/cli/complete.js'

const none = async () => undefined
const words = (lines: readonly string[]) => lines.map(line => line.split('\t')[0])

t.test('verbs, options, values and files are offered where they belong', async t => {
  t.ok(words(await candidates([''], none)).includes('version'))
  t.strictSame(words(await candidates(['vers'], none)), ['version'])
  t.strictSame(words(await candidates(['version', '--js'], none)), ['--json'])
  t.strictSame(words(await candidates(['--debug', 'version', '--js'], none)), ['--json'])
  t.strictSame(words(await candidates(['--ro'], none)), ['--root'])
  t.strictSame(await candidates(['--root', ''], none), [':files'], 'a global option that takes a directory')
  t.strictSame(await candidates(['--root', '/x', 'versio'], none), [
    'version\tShow versions of Lamina, Node and the kernel',
  ])
  t.strictSame(await candidates(['version', '--root', '/'], none), [':files'])
  t.strictSame(words(await candidates(['version', '--json=t'], none)), ['--json=true'])
  t.strictSame(await candidates(['nonsense', ''], none), [])
})

t.test("Docker's longer forms complete as the verbs that they are", async t => {
  t.ok(words(await candidates(['conta'], none)).includes('container'))
  t.strictSame(words(await candidates(['container', 'l'], none)), ['ls', 'list', 'logs'])
  t.strictSame(await candidates(['image', 'rem'], none), ['remove\tRemove images'])
  t.strictSame(words(await candidates(['container', 'ls', '--no-t'], none)), ['--no-trunc'])
  t.strictSame(words(await candidates(['image', 'inspect', '--form'], none)), ['--format'])
  const asked: string[] = []
  await candidates(['container', 'rm', ''], async (verb, argument) => (asked.push(`${verb} ${argument}`), []))
  t.strictSame(asked, ['rm container'])
})

t.test('names are offered by the kind of the positional', async t => {
  const names = async (verb: string, argument: string) =>
    verb === 'completion' && argument === 'shell' ? ['bash', 'fish'] : undefined
  t.strictSame(await candidates(['completion', 'b'], names), ['bash'])
})

const shells = {
  bash: `source ./script; COMP_LINE='lamina version --js' COMP_POINT=19; _lamina; echo "\${COMPREPLY[@]}"`,
  zsh: `compdef() { :; }; _describe() { print -rl -- $found; }; source ./script; words=(lamina version --js) CURRENT=3; _lamina`,
  fish: `source ./script; complete -C 'lamina version --js'`,
}
for (const [shell, program] of Object.entries(shells)) {
  const present = spawnSync(shell, ['-c', 'true']).status === 0
  t.test(`${shell} completes by the script`, { skip: present ? false : `no ${shell}` }, async t => {
    const directory = t.testdir({ script: scripts[shell as keyof typeof scripts] })
    const command = join(directory, 'lamina')
    writeFileSync(command, `#!/bin/sh\nexec ${process.execPath} ${resolve('dist/bin/lamina.js')} "$@"\n`)
    chmodSync(command, 0o755)
    const env = { ...process.env, PATH: `${directory}:${process.env['PATH']}` }
    const { stdout, stderr } = spawnSync(shell, ['-c', program], { cwd: directory, env, encoding: 'utf8' })
    t.equal(stderr, '')
    t.match(stdout, /^--json/)
  })
}
