/** Contexts with more in them than anybody could read. */
import { closeSync, ftruncateSync, mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { shop } from './shop.js'

t.test('a huge excluded file is not read, and ten thousand files are checked without reading them', async t => {
  const s = shop(t, { ctx: { Dockerfile: 'FROM scratch\nCOPY . /\n', '.dockerignore': 'huge\n', many: {} } })
  const ctx = join(s.dir, 'ctx')
  mkdirSync(join(ctx, 'huge'))
  const fd = openSync(join(ctx, 'huge/image.raw'), 'w')
  ftruncateSync(fd, 5 * 2 ** 30)
  closeSync(fd)
  for (let i = 0; i < 10_000; i++) writeFileSync(join(ctx, 'many', `f${i}`), `${i}`)
  // Bytes that this process, and so the build, has read by read(2) and its like (proc(5), io).
  const read = (): number => Number(/^rchar: (\d+)$/m.exec(readFileSync('/proc/self/io', 'latin1'))?.[1])
  const before = read()
  t.equal((await s.lamina(['build', '-q', ctx])).code, 0)
  const cold = read()
  t.ok(cold - before < 2 ** 30, `${cold - before} bytes were read`)
  t.notMatch((await s.lamina(['build', '-q', '-o', '-', ctx])).out, /image\.raw/)
  const { err } = await s.lamina(['build', ctx])
  t.match(err, /CACHED/)
})
