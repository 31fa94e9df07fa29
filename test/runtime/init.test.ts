import t from 'tap'
import { execFileSync, spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { initCode, initProgram } from '../../lib/runtime/init.js'

t.test('the bytes are what the listings assemble to', t => {
  const text = readFileSync('lib/runtime/init.ts', 'latin1').replace(/'\s*\+\s*'/g, '')
  for (const [arch, listing, prefix] of [
    ['x64', 'x86-64.s', 'x86_64-linux-gnu-'],
    ['arm64', 'arm64.s', 'aarch64-linux-gnu-'],
  ] as const) {
    const tool = (name: string): string => (process.arch === arch ? name : prefix + name)
    if (['as', 'ld', 'objcopy'].some(name => spawnSync(tool(name), ['--version']).error !== undefined)) {
      t.pass(listing, { skip: `${prefix}as, ld or objcopy is not installed` })
      continue
    }
    const dir = t.testdir()
    execFileSync(tool('as'), ['-o', join(dir, 'o'), join('lib/runtime/init', listing)])
    const link = ['-N', '-e', '_start', '-Ttext=0x400078', '--build-id=none', '-o', join(dir, 'elf'), join(dir, 'o')]
    execFileSync(tool('ld'), link, { stdio: 'ignore' })
    execFileSync(tool('objcopy'), ['-O', 'binary', '-j', '.text', '-j', '.rodata', join(dir, 'elf'), join(dir, 'bin')])
    const bytes = readFileSync(join(dir, 'bin'))
    t.ok(text.includes(bytes.toString('base64')), `${listing}: ${bytes.length} bytes`)
    if (process.arch === arch) t.same(bytes, initCode)
  }
  t.end()
})

t.test('it passes on exit codes, arguments, environment and signals', t => {
  const init = initProgram(t.testdir())
  const run = (...args: string[]) => spawnSync(init, ['--', ...args], { encoding: 'utf8', timeout: 120_000 })
  t.equal(run('sh', '-c', 'exit 5').status, 5)
  t.equal(run('sh', '-c', 'kill -9 $$').status, 137)
  t.equal(run('/bin/echo', 'a', 'b').stdout, 'a b\n')
  t.match(run('no-such-thing'), { status: 127, stderr: 'lamina-init: no-such-thing: command not found\n' })
  t.equal(run('/etc/passwd').status, 126)
  // The signal is sent when the trap is set: then the child has opened the FIFO.
  const fifo = `${init}.ready`
  const script = `mkfifo "$2"; "$1" -- sh -c 'trap "exit 42" TERM; : > "$1"; while :; do sleep 0.1; done' sh "$2" & p=$!
    read line < "$2"; kill -TERM $p; wait $p`
  const forwarded = spawnSync('sh', ['-c', script, 'sh', init, fifo], { timeout: 120_000 })
  t.equal(forwarded.status, 42)
  t.end()
})
