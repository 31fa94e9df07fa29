/** Archives that ADD, contexts and `import` unpack: every compression, what only looks like one, and a missing program. */
import { execFileSync, spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { archiveKind } from '../../lib/build/archive.js'
import { filterThrough, findProgram } from '../../lib/image/filter-program.js'
import { files, shop } from './shop.js'

const programs = { gz: 'gzip', zst: 'zstd', bz2: 'bzip2', xz: 'xz' } as const
const missing = Object.values(programs).filter(p => spawnSync(p, ['--version']).error !== undefined)

function compress(program: string, bytes: Buffer): Buffer {
  return execFileSync(program, ['-c'], { input: bytes, stdio: ['pipe', 'pipe', 'ignore'], maxBuffer: 8 << 20 })
}

for (const [suffix, program] of Object.entries(programs))
  t.test(
    `ADD unpacks a tar in ${program}, and copies a plain file in it`,
    { skip: missing.includes(program as never) && `needs ${program}` },
    async t => {
      const s = shop(t, { ctx: { in: { a: 'a', d: { b: 'b'.repeat(200_000) } } } })
      const ctx = join(s.dir, 'ctx')
      const tar = execFileSync('tar', ['-C', join(ctx, 'in'), '-c', '.'])
      writeFileSync(join(ctx, `t.${suffix}`), compress(program, tar))
      writeFileSync(join(ctx, `plain.${suffix}`), compress(program, Buffer.from('x'.repeat(2000))))
      const whole = compress(program, tar)
      // More than bzip2's largest block, so that the start of it can be read.
      writeFileSync(join(ctx, 'in/random'), randomBytes(1 << 21))
      const large = compress(program, execFileSync('tar', ['-C', join(ctx, 'in'), '-c', '.'], { maxBuffer: 8 << 20 }))
      writeFileSync(join(ctx, `cut.${suffix}`), large.subarray(0, large.length - 20))
      writeFileSync(join(ctx, `damaged.${suffix}`), Buffer.concat([whole.subarray(0, 8), Buffer.alloc(600, 7)]))
      const lines = [
        `ADD t.${suffix} /unpacked/`,
        `ADD plain.${suffix} damaged.${suffix} /added/`,
        `ADD --unpack=false t.${suffix} /kept/`,
        `COPY t.${suffix} /copied`,
      ]
      t.strictSame(await files(s, ['-f', '-', ctx], `FROM scratch\n${lines.join('\n')}\n`), [
        'added',
        `added/damaged.${suffix}`,
        `added/plain.${suffix}`,
        'copied',
        'kept',
        `kept/t.${suffix}`,
        'unpacked',
        'unpacked/a',
        'unpacked/d',
        'unpacked/d/b',
      ])
      const failed = await s.lamina(['build', '-f', '-', ctx], `FROM scratch\nADD cut.${suffix} /\n`)
      t.equal(failed.code, 1, 'an archive that ends early is an error')
      t.match(failed.err, /-:2: .*(damaged|early|end)/i)
      writeFileSync(join(s.dir, 'Dockerfile'), 'FROM scratch\nCOPY Dockerfile /d\n')
      const asContext = compress(program, execFileSync('tar', ['-C', s.dir, '-c', 'Dockerfile']))
      t.strictSame(await files(s, ['-'], asContext), ['d'], 'a context on standard input')
      writeFileSync(join(s.dir, 'root.tar'), whole)
      t.equal((await s.lamina(['import', join(s.dir, 'root.tar'), 'imported'])).code, 0)
      t.match((await s.lamina(['ls', 'imported'])).out, /^a\nd\n$/)
    },
  )

t.test('old tars count, text that is no tar does not', async t => {
  const v7 = execFileSync('tar', ['--format=v7', '-c', 'package.json'])
  t.equal(archiveKind(v7), 'tar')
  t.equal(archiveKind(execFileSync('tar', ['--format=pax', '-c', 'package.json'])), 'tar')
  t.equal(archiveKind(readFileSync('package-lock.json').subarray(0, 512)), undefined)
  t.equal(archiveKind(Buffer.alloc(512)), undefined, 'an empty archive')
  t.equal(archiveKind(Buffer.alloc(0)), undefined)
})

async function* bytes(...chunks: string[]): AsyncGenerator<Buffer> {
  for (const chunk of chunks) yield Buffer.from(chunk)
}

async function all(source: AsyncIterable<Buffer>): Promise<string> {
  const chunks: Buffer[] = []
  for await (const chunk of source) chunks.push(chunk)
  return Buffer.concat(chunks).toString('utf8')
}

t.test('a filter program reads, writes, and can do nothing else', async t => {
  const sh = findProgram('sh')!
  const run = (script: string, input = ''): Promise<string> => all(filterThrough(sh, ['-c', script], bytes(input)))
  t.equal(await run('cat; echo done', 'input '), 'input done\n')
  const root = process.getuid?.() === 0
  if (root) t.equal(await run('id -u; id -g; id -G'), '65534\n65534\n65534\n')
  const dir = t.testdir({ open: {} })
  mkdirSync(join(dir, 'open/to-all'), { mode: 0o777 })
  const file = join(dir, 'open/to-all/file')
  t.match(
    await run(`chmod 777 ${dir}; (echo x > ${file}) 2>&1; wc -c < ${file} 2>&1; true`),
    /File size|denied|cannot|0\n/,
  )
  t.match(await run('cat /proc/net/dev | wc -l'), /^[23]\n$/, 'no interface but loopback')
  t.equal(await run('ls /proc/self/fd | wc -l'), '4\n', 'standard input, output, error, and the listing itself')
  t.match(await run('grep NoNewPrivs /proc/self/status'), /1\n$/)
  await t.rejects(run('echo first >&2; echo it is broken >&2; exit 3'), {
    code: 'BLOB_CORRUPT',
    message: /it is broken$/,
  })
  await t.rejects(run('exit 4'), { code: 'BLOB_CORRUPT', message: /code 4/ })
  await t.rejects(all(filterThrough('/no/such/program', [], bytes(''))), { code: 'UNSUPPORTED', message: /not there/ })
  // One that is not read to its end is ended.
  const endless = filterThrough(sh, ['-c', 'while :; do echo yes; done'], bytes(''))
  t.equal((await endless.next()).done, false)
  await endless.return(undefined)
  t.equal(findProgram('no-such-program'), undefined)
})
