/** What is printed: unified diffs that patch applies, sums by directory, rules and JUnit, JSON; and copying out. */
import { execFileSync, spawnSync } from 'node:child_process'
import {
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { main } from '../../lib/cli/main.js'
import { changeJson } from '../../lib/cli/describe-change.js'
import { analyse } from '../../lib/diff/analysis.js'
import { compareTrees } from '../../lib/diff/compare.js'
import { MergedTree } from '../../lib/diff/merged.js'
import { DEFAULT_RULES, judge, junit, parseRules, withRules } from '../../lib/diff/rules.js'
import { statByDirectory } from '../../lib/diff/stat.js'
import { unifiedDiff } from '../../lib/diff/unified.js'
import { dir, file, type Item, MemoryLayer } from './memory-layer.js'

const scratch = (t: Test): string => {
  const path = mkdtempSync(join(tmpdir(), 'lamina-forms-'))
  t.teardown(() => rmSync(path, { recursive: true, force: true }))
  return path
}

async function run(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  const said = { out: '', err: '' }
  const to = (key: 'out' | 'err') => ({
    write: (chunk: string | Uint8Array): boolean => {
      said[key] += typeof chunk === 'string' ? chunk : Buffer.from(chunk).toString('latin1')
      return true
    },
  })
  const code = await main(args, { stdin: process.stdin, stdout: to('out'), stderr: to('err') })
  return { code, ...said }
}

const trees = (before: Item, after: Item): [MergedTree, MergedTree] => [
  new MergedTree([new MemoryLayer(before)]),
  new MergedTree([new MemoryLayer(after)]),
]

const patchOf = async (before: Item, after: Item): Promise<string> => {
  const [a, b] = trees(before, after)
  let text = ''
  await unifiedDiff(compareTrees(a, b), a, b, bytes => (text += bytes))
  return text
}

t.test('unified diffs', async t => {
  t.test(
    'git applies them: changes, new and removed files, modes, symlinks, names of any bytes',
    {
      skip: spawnSync('git', ['--version']).error === undefined ? false : 'needs git',
    },
    async t => {
      const root = scratch(t)
      const write = `mkdir -p a/gone a/d; cd a; seq 40 > numbers; printf 'no newline' > end; echo x > gone/f; echo y > gone/g; echo m > mode
      echo old > "$(printf 'n\\303\\244me "q"\\t')"; ln -s one link; echo type > type; echo d > d/x; cp -a . ../b; cd ../b
      sed -i 's/^20$/twenty/; s/^5$//' numbers; printf 'no newline either' > end; rm -r gone; chmod 755 mode; echo new > fresh; mkdir deep; echo e > deep/er; : > empty
      echo new > "$(printf 'n\\303\\244me "q"\\t')"; ln -sfn two link; rm type; ln -s now type; echo D > d/x`
      execFileSync('bash', ['-ec', write], { cwd: root })
      const patch = await run('diff', join(root, 'a'), join(root, 'b'), '--content')
      t.equal(patch.code, 0, patch.err)
      writeFileSync(join(root, 'patch'), Buffer.from(patch.out, 'latin1'))
      execFileSync('git', ['apply', '--unsafe-paths', '--directory', '', '../patch'], {
        cwd: join(root, 'a'),
        env: { ...process.env, GIT_DIR: '/nonexistent' },
      })
      const left = await run('diff', '--ignore-times', join(root, 'a'), join(root, 'b'), '--name-only')
      t.equal(left.out, '', 'nothing differs any more')
    },
  )

  t.test('binary data is only said to differ', async t => {
    t.match(await patchOf(dir({ a: file('x\0') }), dir({ a: file('y\0') })), 'Binary files a/a and b/a differ')
  })

  t.test('a change of attributes alone has no hunk', async t => {
    t.equal(await patchOf(dir({ a: file('x') }), dir({ a: file('x', { uid: 5 }) })), '')
    t.equal(
      await patchOf(dir({ a: file('x') }), dir({ a: file('x', { mode: 0o100755 }) })),
      'diff --git a/a b/a\nold mode 100644\nnew mode 100755\n',
    )
  })
})

t.test('sums by directory', async t => {
  const before = dir({
    usr: dir({ lib: dir({ a: file('12345'), b: file('1') }), gone: dir({ x: file('123'), y: dir({ z: file('1') }) }) }),
    t: dir({ u: file('12') }),
  })
  const after = dir({ usr: dir({ lib: dir({ a: file('1234567'), c: file('22') }) }), t: file('now a file') })
  const [a, b] = trees(before, after)
  const rows = statByDirectory(compareTrees(a, b), a, 2)
  t.same(rows, [
    { directory: '/usr/lib', added: 1, changed: 1, removed: 1, addedBytes: 9, removedBytes: 6 },
    { directory: '/', added: 1, changed: 0, removed: 0, addedBytes: 10, removedBytes: 0 },
    { directory: '/usr/gone', added: 0, changed: 0, removed: 2, addedBytes: 0, removedBytes: 4 },
    { directory: '/t', added: 0, changed: 0, removed: 1, addedBytes: 0, removedBytes: 2 },
  ])
  const all = statByDirectory(compareTrees(a, b), a, 0)
  t.same(all, [{ directory: '/', added: 2, changed: 1, removed: 4, addedBytes: 19, removedBytes: 12 }], 'the same sums')
})

t.test('rules for pipelines', async t => {
  const analysis = analyse([
    new MemoryLayer(dir({ a: file('x'.repeat(60)), b: file('y'.repeat(20)) }), true),
    new MemoryLayer(dir({ a: file('z'.repeat(20)) }), true),
  ])
  const outcomes = (text: string): string[] => judge(analysis, parseRules(text, 'rules')).map(v => v.outcome)
  t.same(outcomes(''), ['fail', 'skip', 'fail'], "dive's defaults")
  t.same(outcomes('rules:\n  lowestEfficiency: 0.4\n  highestWastedBytes: 60\n  highestUserWastedPercent: disabled'), [
    'pass',
    'pass',
    'skip',
  ])
  t.same(outcomes('rules:\n  lowestEfficiency: 0.41\n  highestWastedBytes: 59B\n'), ['fail', 'fail', 'fail'])
  t.equal(parseRules('rules: {highestWastedBytes: 20MB}', 'r').highestWastedBytes, 20_000_000)
  t.equal(parseRules('rules: {highestWastedBytes: 1.5 KiB}', 'r').highestWastedBytes, 1536)
  for (const wrong of [
    'rules: {lowestEfficiency: 2}',
    'rules: {lowestEfficiency: ""}',
    'rules: {highestWastedBytes: lots}',
    'rules: {lowestEficiency: 0.9}',
    'rules: [',
    'rules: 5',
  ])
    t.throws(() => parseRules(wrong, 'rules'), { code: 'CI_RULES_INVALID' }, wrong)
  t.same(withRules(DEFAULT_RULES, { lowestEfficiency: '0.1', highestWastedBytes: '5' }, 'options'), {
    lowestEfficiency: 0.1,
    highestWastedBytes: 5,
    highestUserWastedPercent: 0.1,
  })

  const report = junit('a<b>&"\x1b', judge(analysis, DEFAULT_RULES))
  t.match(report, /tests="3" failures="2" skipped="1"/)
  t.match(report, 'name="lamina ci a&#60;b&#62;&#38;&#34;\ufffd"')
  t.match(report, /<testcase [^>]*lowestEfficiency"><failure message="efficiency 0.4, at least 0.9 asked"/)
})

t.test('JSON keeps names that are no UTF-8', async t => {
  const [a, b] = trees(dir(), dir({ '\xff': file('x', { mtime: -5, mtimeNs: 7, mode: 0o104755 }) }))
  t.match(changeJson(compareTrees(a, b)[0] as never), {
    kind: 'added',
    path: '/\ufffd',
    pathBase64: Buffer.from('/\xff', 'latin1').toString('base64'),
    after: { type: 'file', mode: '4755', mtime: '1969-12-31T23:59:55.000000007Z' },
  })
})

t.test('cp', async t => {
  t.test('never follows what is in the way', async t => {
    const root = scratch(t)
    mkdirSync(join(root, 'outside'))
    mkdirSync(join(root, 'to'))
    writeFileSync(join(root, 'outside/kept'), 'kept')
    symlinkSync('../outside', join(root, 'to/d'))
    symlinkSync('../outside/kept', join(root, 'to/f'))
    execFileSync(
      'bash',
      ['-ec', 'mkdir -p from/d; echo new > from/d/kept; echo new > from/f; ln -s /etc/passwd from/s'],
      { cwd: root },
    )
    const r = await run('cp', `dir:${root}/from:/.`, join(root, 'to'))
    t.equal(r.code, 0, r.err)
    t.equal(readFileSync(join(root, 'outside/kept'), 'utf8'), 'kept')
    t.ok(lstatSync(join(root, 'to/d')).isDirectory(), 'the symlink gave way to the directory')
    t.equal(readFileSync(join(root, 'to/f'), 'utf8'), 'new\n')
    t.equal(readlinkSync(join(root, 'to/s')), '/etc/passwd')
  })

  t.test('into a directory that exists, else under the new name, as docker cp', async t => {
    const root = scratch(t)
    execFileSync(
      'bash',
      [
        '-ec',
        'mkdir -p from/app to; echo x > from/app/f; chmod 4755 from/app/f; touch -d 2001-02-03 from/app/f; ln from/app/f from/app/g',
      ],
      { cwd: root },
    )
    await run('cp', `dir:${root}/from:/app`, join(root, 'to'))
    const copied = lstatSync(join(root, 'to/app/f'))
    t.equal(copied.mtime.getFullYear(), 2001)
    t.equal(copied.mode & 0o7777, 0o755, 'no suid without the owner')
    t.equal(copied.nlink, 2, 'hard links stay')
    await run('cp', `dir:${root}/from:/app`, join(root, 'named'))
    t.ok(lstatSync(join(root, 'named/f')).isFile())
    const tar = await run('cp', `dir:${root}/from:/app`, '-')
    const listed = execFileSync('tar', ['t'], { input: Buffer.from(tar.out, 'latin1') }).toString()
    t.same(listed.split('\n'), ['app/', 'app/f', 'app/g', ''])
    t.equal((await run('cp', `dir:${root}/from:/none`, root)).code, 1)
    t.equal((await run('cp', join(root, 'named'), root)).code, 2, 'one side is inside')
  })

  t.test('ls, cat and find over a directory', async t => {
    const root = scratch(t)
    execFileSync(
      'bash',
      [
        '-ec',
        `mkdir -p d/etc d/loop; echo me:x:77:77:: > d/etc/passwd; echo x > d/f; chown 77:77 d/f || true; ln -s etc/passwd d/p
      ln -s b d/loop/a; ln -s a d/loop/b; ln -s /etc/passwd d/abs; touch "$(printf 'd/e\\033[2J')"`,
      ],
      { cwd: root },
    )
    const at = `dir:${root}/d`
    t.same((await run('ls', at)).out.split('\n'), ['abs', 'e\\x1b[2J', 'etc', 'f', 'loop', 'p', ''])
    t.equal((await run('cat', `${at}:/abs`)).out, 'me:x:77:77::\n', 'an absolute symlink stays inside')
    t.match((await run('cat', `${at}:/loop/a`)).err, /too many symbolic links/)
    t.match((await run('cat', `${at}:/etc`)).err, /illegal operation on a directory/)
    t.match((await run('cat', `${at}:/../../../none`)).err, /no such file/)
    t.equal((await run('find', at, '--name', '[e-f]*', '--type', 'f')).out, '/e\\x1b[2J\n/f\n')
    t.equal((await run('find', at, '--iname', 'PASS*')).out, '/etc/passwd\n')
    t.equal((await run('find', at, '--type', 'l', '--maxdepth', '1')).out, '/abs\n/p\n')
    t.equal((await run('find', at, '--type', 'x')).code, 2)
    if (process.getuid?.() === 0)
      t.match((await run('ls', '-l', at)).out, /me +77 +2 .* f\n/, 'the tree names its own users')
    t.match(JSON.parse((await run('ls', '--json', at)).out), [{ name: 'abs', type: 'symlink', target: '/etc/passwd' }])
  })
})

t.test('wrong usage and missing things', async t => {
  const root = scratch(t)
  t.equal((await run('--root', join(root, 'store'), 'diff', '/')).code, 2, 'a directory alone')
  const none = await run('--root', join(root, 'store'), 'diff', 'nothing')
  t.equal(none.code, 1)
  t.match(none.err, /no such image or container/)
  t.equal((await run('diff', '/', '/', '--json', '--stat')).code, 2)
  t.equal((await run('--root', join(root, 'store'), 'layers', 'nothing')).code, 1)
})
