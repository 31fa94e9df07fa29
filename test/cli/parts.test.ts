/** What programs start from (bin/loader.cjs): parts.js and its caches, in the places and states an installation may be in. */
import t from 'tap'
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'

const built = 'dist/bin'
const isCache = (name: string): boolean => name.endsWith('.cache')
const environment = { ...process.env, NODE_OPTIONS: '' }

/** An installation of its own below `place`, with the files of dist/bin. */
function installed(place: string): string {
  const bin = join(place, built)
  mkdirSync(bin, { recursive: true })
  for (const name of readdirSync(built)) copyFileSync(join(built, name), join(bin, name))
  copyFileSync('package.json', join(place, 'package.json'))
  symlinkSync(realpathSync('node_modules'), join(place, 'node_modules'))
  return bin
}

/** Runs `lamina words` from `bin`. `compiled`: the first lines of scripts that did not come from the cache. */
function lamina(bin: string, words: readonly string[], more: { uid?: number } = {}) {
  const hook = join(bin, 'hook.cjs')
  const log = join(bin, 'log')
  writeFileSync(
    hook,
    `const vm = require('node:vm')
vm.Script = class extends vm.Script {
  constructor(source, options) {
    super(source, options)
    if (options.cachedData === undefined || this.cachedDataRejected)
      require('node:fs').appendFileSync(${JSON.stringify(log)}, options.lineOffset + '\\n')
  }
}`,
  )
  writeFileSync(log, '')
  chmodSync(log, 0o666)
  const env = { ...environment, NODE_OPTIONS: `--require ${hook}` }
  const { status, stdout, stderr } = spawnSync(process.execPath, [join(bin, 'lamina.js'), ...words], {
    ...more,
    env,
    encoding: 'utf8',
  })
  return { status, stdout, stderr, compiled: readFileSync(log, 'utf8').split('\n').filter(Boolean) }
}

t.test('what a start needs comes from the cache', async t => {
  const bin = installed(t.testdir())
  const { status, stdout, compiled } = lamina(bin, ['mounts'])
  t.equal(status, 0)
  t.match(stdout, /MOUNTPOINT/)
  const first = lamina(bin, ['--version'])
  t.match(first.stdout, /^lamina \d/)
  t.ok(compiled.length <= 5, 'only the parts of a verb that few wait for are compiled')
  t.same(first.compiled, [])
})

t.test('without a cache, and with one of another build, it runs, and makes its own', async t => {
  const bin = installed(t.testdir())
  const caches = (): string[] => readdirSync(bin).filter(isCache)
  const count = caches().length
  t.ok(count >= 2, 'for commands, and for processes that stay')
  for (const name of caches()) rmSync(join(bin, name))
  t.match(lamina(bin, ['--version']).stdout, /^lamina \d/)
  const [own = ''] = caches()
  t.equal(caches().length, 1)
  t.same(lamina(bin, ['--version']).compiled, [])
  for (const damaged of ['', '//{', `//${JSON.stringify({ build: 'another', scripts: {} })}`.padEnd(40_000)]) {
    writeFileSync(join(bin, own), damaged)
    t.match(lamina(bin, ['--version']).stdout, /^lamina \d/, `a cache of ${damaged.length} bytes`)
    t.same(lamina(bin, ['--version']).compiled, [], 'made again')
  }
})

t.test(
  'from a directory that is not the user’s to write',
  { skip: process.getuid?.() !== 0 && 'needs root' },
  async t => {
    // Not below directories that only root may enter.
    const place = mkdtempSync(join(tmpdir(), 'lamina-parts-'))
    t.teardown(() => rmSync(place, { recursive: true }))
    chmodSync(place, 0o755)
    const bin = installed(place)
    for (const name of readdirSync(bin).filter(isCache)) rmSync(join(bin, name))
    const { status, stdout, stderr, compiled } = lamina(bin, ['--version'], { uid: 65534 })
    t.match({ status, stderr }, { status: 0, stderr: '' })
    t.match(stdout, /^lamina \d/)
    t.ok(compiled.length > 0)
    t.same(
      readdirSync(bin).filter(name => name.includes('.cache')),
      [],
    )
  },
)

t.test('a process that runs while the program is built again keeps its own build', async t => {
  const bin = installed(t.testdir())
  const program = join(bin, 'waiting.js')
  const lines = readFileSync(join(bin, 'lamina.js'), 'utf8').trimEnd().split('\n')
  const start = lines.pop() ?? ''
  t.match(start, /^load\(/)
  writeFileSync(
    program,
    `${lines.join('\n')}\nprocess.stdin.once('data', () => { ${start}; process.stdin.destroy() })\nconsole.log('waiting')\n`,
  )
  const child = spawn(process.execPath, [program, '--version'], {
    env: environment,
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  let said = ''
  child.stdout.on('data', (chunk: Buffer) => (said += chunk.toString()))
  await once(child.stdout, 'data')
  for (const name of readdirSync(bin).filter(n => n.startsWith('parts'))) {
    writeFileSync(join(bin, 'new'), 'another build')
    renameSync(join(bin, 'new'), join(bin, name))
  }
  child.stdin.write('go\n')
  await once(child, 'close')
  t.match(said, /lamina \d/)
})

t.test('no text in parts.js is longer in bytes than in characters', async t => {
  const file = join(built, 'parts.js')
  t.equal(readFileSync(file, 'utf8').length, statSync(file).size, basename(file))
})
