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

/** A tar of this many megabytes: a large file, and small ones of some kilobytes, none like another. */
function* tar(megabytes: number): Generator<Buffer> {
  const block = Buffer.concat(Array.from({ length: MB / 64 }, (_, i) => createHash('sha512').update(`${i}`).digest()))
  const half = Math.floor(megabytes / 2)
  yield header({ name: 'large', size: half * MB })
  for (let i = 0; i < half; i++) {
    block.writeUInt32LE(i, 0)
    yield Buffer.from(block)
  }
  for (let i = 0; i < half * 32; i++) {
    block.writeUInt32LE(i, 0)
    yield Buffer.concat([header({ name: `d${i % 100}/small${i}`, size: MB / 32 }), block.subarray(0, MB / 32)])
  }
  yield Buffer.alloc(1024)
}

async function peak(megabytes: number): Promise<number> {
  const scratch = mkdtempSync(join(tmpdir(), 'lamina-import-memory-'))
  const bin = new URL('../../bin/lamina.js', import.meta.url).pathname
  const command = [process.execPath, bin, '--root', join(scratch, 'store'), 'import', '-', 'test/memory:1']
  const child = spawn('python3', ['-c', MEASURE, ...command], { stdio: ['pipe', 'pipe', 'inherit'] })
  let out = ''
  child.stdout.on('data', chunk => (out += String(chunk)))
  const ended = new Promise<number | null>(resolve => child.once('close', resolve))
  for (const piece of tar(megabytes))
    if (!child.stdin.write(piece)) await new Promise<void>(resolve => child.stdin.once('drain', () => resolve()))
  child.stdin.end()
  if ((await ended) !== 0) throw new Error('import failed')
  rmSync(scratch, { recursive: true, force: true })
  return Number(out.trim().split('\n').at(-1)) / 1024
}

t.test('an import takes the same memory whatever the size of the layer', async t => {
  const small = await peak(100)
  const large = await peak(1600)
  t.comment(`peak resident memory: ${Math.round(small)} MB for a layer of 100 MB, ${Math.round(large)} MB for 1600 MB`)
  t.ok(large < 250, `${Math.round(large)} MB`)
  t.ok(large < small + 64, 'sixteen times the layer')
})
