/** `lamina build --output`: files in a directory, a tar, an OCI and a Docker archive, standard output. */
import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, readFileSync, statSync, symlinkSync, mkdirSync, lstatSync, readlinkSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { parseOutput } from '../../lib/build/output.js'
import { shop, type Shop } from './shop.js'

const FILE = `FROM scratch
COPY --chmod=0640 f /d/f
ADD links.tar /links/
ENV A=1
CMD ["/d/f"]
`

function prepared(t: Test): Shop & { ctx: string } {
  const s = shop(t, { ctx: { Dockerfile: FILE, f: 'content', in: { a: 'a' } } })
  const ctx = join(s.dir, 'ctx')
  execFileSync('ln', [join(ctx, 'in/a'), join(ctx, 'in/b')])
  symlinkSync('a', join(ctx, 'in/l'))
  execFileSync('tar', ['-C', join(ctx, 'in'), '-cf', join(ctx, 'links.tar'), '.'])
  return { ...s, ctx }
}

t.test('a directory: modes, links, and nothing outside of it', async t => {
  const s = prepared(t)
  const to = join(s.dir, 'out')
  mkdirSync(join(s.dir, 'elsewhere'))
  const build = () => s.lamina(['build', '-q', '-o', `type=local,dest=${to}`, s.ctx])
  t.strictSame(await build().then(({ code, out }) => [code, out]), [0, ''])
  t.equal(readFileSync(join(to, 'd/f'), 'utf8'), 'content')
  t.equal(statSync(join(to, 'd/f')).mode & 0o777, 0o640)
  t.equal(statSync(join(to, 'links/a')).ino, statSync(join(to, 'links/b')).ino, 'hard links are hard links')
  t.equal(readlinkSync(join(to, 'links/l')), 'a')
  t.equal((await build()).code, 0, 'again, over what is there')
  execFileSync('rm', ['-r', join(to, 'd')])
  symlinkSync(join(s.dir, 'elsewhere'), join(to, 'd'))
  const refused = await build()
  t.equal(refused.code, 1)
  t.match(refused.err, /write .*out: /)
  t.ok(lstatSync(join(to, 'd')).isSymbolicLink())
  t.notOk(existsSync(join(s.dir, 'elsewhere/f')), 'a link that was there is not gone through')
})

t.test('a tar has every name, mode and link of the tree', async t => {
  const s = prepared(t)
  const tar = join(s.dir, 'out.tar')
  t.equal((await s.lamina(['build', '-q', '-o', `type=tar,dest=${tar}`, s.ctx])).code, 0)
  const list = execFileSync('tar', ['-tvf', tar], { encoding: 'utf8' })
  t.match(list, /-rw-r----- 0\/0 +7 .* d\/f\n/)
  t.match(list, /links\/b link to links\/a\n/)
  t.match(list, /links\/l -> a\n/)
  const { raw, out } = await s.lamina(['build', '-q', '-o', '-', s.ctx])
  t.notMatch(out, 'sha256:', 'nothing but the tar is on standard output')
  t.ok(raw.equals(readFileSync(tar)))
})

for (const type of ['oci', 'docker'] as const)
  t.test(`an ${type} archive can be loaded, and named without a name in the store`, async t => {
    const s = prepared(t)
    const file = join(s.dir, 'image.tar')
    const built = await s.lamina(['build', '-t', 'web:1', '-t', 'web:2', '-o', `type=${type},dest=${file}`, s.ctx])
    t.equal(built.code, 0, built.err)
    t.equal((await s.lamina(['inspect', 'web:1'])).code, 1, 'the store has no such name')
    const other = ['--root', join(s.dir, 'other')]
    t.equal((await s.lamina([...other, 'load', '-i', file])).code, 0)
    const run = async (...args: string[]): Promise<string> => (await s.lamina([...other, ...args])).out
    t.match(await run('ls', 'web:1'), /^d\nlinks\n$/)
    t.match(await run('cat', 'web:2:/d/f'), /^content$/)
    if (spawnSync('skopeo', ['--version']).status === 0) {
      const from = type === 'oci' ? `oci-archive:${file}:docker.io/library/web:1` : `docker-archive:${file}:web:1`
      const config = JSON.parse(execFileSync('skopeo', ['inspect', '--config', from], { encoding: 'utf8' })) as object
      t.match(config, { config: { Cmd: ['/d/f'], Env: [/PATH=/, 'A=1'] } })
    } else t.comment('no skopeo: not read by it')
    const { raw } = await s.lamina(['build', '-q', '-t', 'web:1', '-t', 'web:2', '-o', `type=${type},dest=-`, s.ctx])
    if (type === 'oci') t.ok(raw.equals(readFileSync(file)), 'the same bytes on standard output')
    else t.ok(raw.length > 0)
  })

t.test('what --output may say', async t => {
  t.strictSame(parseOutput('dir'), { type: 'local', dest: 'dir' })
  t.strictSame(parseOutput('-'), { type: 'tar', dest: '-' })
  t.strictSame(parseOutput('type=oci,dest=x.tar'), { type: 'oci', dest: 'x.tar' })
  t.strictSame(parseOutput('type=docker'), { type: 'image' }, 'as docker: into the local store')
  const wrong: [string, RegExp][] = [
    ['type=registry', /the type is image, local, tar, oci or docker/],
    ['type=local', /a dest is needed/],
    ['type=image,dest=x', /no dest/],
    ['type=oci,compression=zstd', /unknown field "compression"/],
  ]
  for (const [text, message] of wrong) t.throws(() => parseOutput(text), { code: 'OUTPUT', message }, text)
})
