import t from 'tap'
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { header } from '../layer/raw-tar.js'

t.setTimeout(1_200_000)

const MB = 2 ** 20
/** Runs a command with standard input passed on, and says what of memory it held at most (kilobytes). */
const MEASURE = `
import resource, subprocess, sys
code = subprocess.call(sys.argv[1:])
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(code)
`

/** A tar of a large file of this many megabytes, and small ones, none like another. */
function* tar(megabytes: number, files: number): Generator<Buffer> {
  const block = Buffer.concat(Array.from({ length: MB / 64 }, (_, i) => createHash('sha512').update(`${i}`).digest()))
  yield header({ name: 'large', size: megabytes * MB })
  for (let i = 0; i < megabytes; i++) {
    block.writeUInt32LE(i, 0)
    yield Buffer.from(block)
  }
  for (let i = 0; i < files; i++) {
    block.writeUInt32LE(i, 0)
    yield Buffer.concat([header({ name: `d${i % 100}/small${i}`, size: 4096 }), block.subarray(0, 4096)])
  }
  yield Buffer.alloc(1024)
}

/** Megabytes that an import of it held at most. */
async function peak(megabytes: number, files: number): Promise<number> {
  const scratch = mkdtempSync(join(tmpdir(), 'lamina-import-memory-'))
  const bin = new URL('../../bin/lamina.js', import.meta.url).pathname
  const command = [process.execPath, bin, '--root', join(scratch, 'store'), 'import', '-', 'test/memory:1']
  const child = spawn('python3', ['-c', MEASURE, ...command], { stdio: ['pipe', 'pipe', 'inherit'] })
  let out = ''
  child.stdout.on('data', chunk => (out += String(chunk)))
  const ended = new Promise<number | null>(resolve => child.once('close', resolve))
  for (const piece of tar(megabytes, files))
    if (!child.stdin.write(piece)) await new Promise<void>(resolve => child.stdin.once('drain', () => resolve()))
  child.stdin.end()
  if ((await ended) !== 0) throw new Error('import failed')
  rmSync(scratch, { recursive: true, force: true })
  return Number(out.trim().split('\n').at(-1)) / 1024
}

t.test('an import takes the same memory whatever the size of the layer, and little for each name', async t => {
  const small = await peak(100, 2_000)
  const large = await peak(1600, 2_000)
  const many = await peak(100, 40_000)
  const shown = [small, large, many].map(Math.round).join(', ')
  t.comment(`peak resident memory: ${shown} MB: a layer of 100 MB, of 1600 MB, and with 40,000 files instead of 2,000`)
  t.ok(large < 250 && many < 250, shown)
  t.ok(large < small + 32, 'sixteen times the bytes')
  t.ok(many < small + 120, 'twenty times the names: at most 3 kB each, with what the collector leaves lying')
})
