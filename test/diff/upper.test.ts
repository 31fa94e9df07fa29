/**
 * An upper directory read on its own, against what a mount of it shows: the kernel's overlayfs and Lamina's own union each
 * make the same changes, and the difference found in the upper must be the difference between the mounted tree and the
 * lower, path by path and aspect by aspect.
 */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { bytesOf } from '../../lib/bytes.js'
import type { Change } from '../../lib/diff/change.js'
import { compare, compareTrees } from '../../lib/diff/compare.js'
import { layerTar } from '../../lib/diff/layer-tar.js'
import { dockerLines } from '../../lib/diff/lines.js'
import { MergedTree } from '../../lib/diff/merged.js'
import { type DirectoryLayer, openDirectoryLayer } from '../../lib/layer/directory.js'
import { writeTar } from '../../lib/layer/tar-write.js'
import { MountServer } from '../../lib/mount/server.js'

const LOWER = `
  mkdir -p etc usr/bin usr/share/doc/a/b usr/lib opq/inner home many
  echo root > etc/passwd; echo hello > etc/motd; echo keep > etc/keep; ln -s motd etc/link
  echo shell > usr/bin/sh; chmod 4755 usr/bin/sh; for i in 1 2 3 4; do echo $i > usr/share/doc/a/b/$i; done
  echo one > opq/1; echo two > opq/inner/2; echo x > tofile; mkdir todir; echo y > todir/y; echo z > tolink
  echo linked > home/l1; ln home/l1 home/l2; ln home/l1 etc/l3; for i in $(seq 200); do echo $i > many/$i; done
  head -c 100000 /dev/urandom > usr/lib/big; touch "$(printf 'odd\\377\\n')"; chmod 1777 home`

const CHANGES = `
  echo root2 > etc/passwd; rm etc/motd; chmod 600 etc/keep; touch -d 2001-01-01 usr/lib/big; chown 7:8 usr/bin/sh
  mkdir new; echo n > new/n; ln -s n new/link; mkfifo new/fifo
  rm -r opq; mkdir opq; echo three > opq/3
  rm tofile; mkdir tofile; echo in > tofile/in; rm -r todir; echo f > todir; rm tolink; ln -s etc tolink
  mv usr/share/doc usr/share/papers; rm usr/share/papers/a/b/1; echo 5 > usr/share/papers/a/b/5
  echo more >> home/l1; ln etc/keep etc/keep2; rm many/7; echo seven > many/7; echo gone > many/new; rm many/new
  setfattr -n user.k -v v usr/lib; echo x > "$(printf 'odd\\377\\n')"`

const sh = (cwd: string, script: string): void =>
  void execFileSync('timeout', ['200', 'bash', '-ec', script], { cwd, stdio: ['ignore', 'ignore', 'inherit'] })

/** Comparable form. A replaced directory is for the mounted tree one that changed, or not, and lost names. */
const words = (changes: readonly Change[]): string[] =>
  changes.flatMap(c => {
    if (c.kind === 'replaced' && c.aspects.length === 0) return []
    const kind = c.kind === 'replaced' ? 'modified' : c.kind
    return [`${kind} ${c.path}${'aspects' in c ? ` ${c.aspects.join()}` : ''}`]
  })

interface Place {
  readonly dir: string
  readonly lower: string
  readonly upper: string
  readonly work: string
  readonly merged: string
}

function place(t: Test): Place {
  const dir = mkdtempSync(join(tmpdir(), 'lamina-upper-'))
  t.teardown(() => rmSync(dir, { recursive: true, force: true }))
  const [lower, upper, work, merged] = ['lower', 'upper', 'work', 'merged'].map(name => {
    mkdirSync(join(dir, name))
    return join(dir, name)
  }) as [string, string, string, string]
  sh(lower, LOWER)
  return { dir, lower, upper, work, merged }
}

/** Compares what the upper says with what the mount shows, while it is mounted. */
async function check(t: Test, { dir, lower, upper, merged }: Place): Promise<void> {
  const layers: DirectoryLayer[] = []
  const open = (path: string): DirectoryLayer => {
    const layer = openDirectoryLayer(bytesOf(path))
    layers.push(layer)
    return layer
  }
  t.teardown(() => {
    for (const layer of layers.splice(0)) layer.close()
  })
  const below = open(lower)
  const before = new MergedTree([below])
  const after = new MergedTree([open(upper), below])
  const found = compareTrees(before, after)
  const shown = compare([below], [open(merged)])
  t.same(words(found), words(shown), 'the upper says what the mount shows')
  t.ok(shown.length > 25, `${shown.length} changes`)
  const lines = dockerLines(found).map(l => `${l.kind} ${l.path}`)
  for (const line of [
    'C /etc',
    'D /etc/motd',
    'C /home/l1',
    'C /home/l2',
    'C /etc/l3',
    'D /many/7'.replace('D', 'C'),
  ]) {
    t.ok(lines.includes(line), line)
  }
  const renames = compareTrees(before, after, { renames: true }).filter(c => c.kind === 'renamed')
  t.match(renames, [{ path: '/usr/share/papers', from: '/usr/share/doc' }])

  // Applied elsewhere: over a copy of the lower, by GNU tar. What changed its type and what is whited out is removed first.
  const copy = join(dir, 'copy')
  sh(dir, 'cp -a lower copy')
  const tar: Buffer[] = []
  const { entries } = layerTar(before, after)
  for await (const chunk of writeTar(entries)) tar.push(chunk)
  for (const c of found) {
    if (c.kind === 'modified' && c.aspects.includes('type')) rmSync(join(copy, c.path), { recursive: true })
  }
  for (const { name } of entries) {
    const marked = name.replace(/(^|\/)\.wh\.([^/]*)$/, '$1$2')
    if (marked !== name) rmSync(join(copy, marked), { recursive: true, force: true })
  }
  execFileSync('tar', ['-C', copy, '--xattrs', '--xattrs-include=*', '--exclude=.wh.*', '-xpf', '-'], {
    input: Buffer.concat(tar),
  })
  const left = compare([open(copy)], [open(merged)], { ignoreTimes: true })
  t.same(words(left), [], 'the layer tar, applied to a copy of the lower, gives the mounted tree')
  for (const layer of layers.splice(0)) layer.close()
}

const root = process.getuid?.() === 0 ? false : 'needs root'

t.test("an upper that the kernel's overlayfs wrote", { skip: root }, async t => {
  const p = place(t)
  const options = `lowerdir=${p.lower},upperdir=${p.upper},workdir=${p.work},redirect_dir=on,metacopy=on,index=on`
  try {
    execFileSync('mount', ['-t', 'overlay', 'overlay', '-o', options, p.merged], { stdio: 'pipe' })
  } catch (error) {
    t.comment(String(error))
    t.plan(0, 'overlayfs with redirects, metacopy and index cannot be mounted here')
    return
  }
  t.teardown(() => execFileSync('umount', ['-l', p.merged]))
  sh(p.merged, CHANGES)
  await check(t, p)
})

t.test(
  "an upper that Lamina's union wrote",
  { skip: root || (existsSync('/dev/fuse') ? false : 'no /dev/fuse') },
  async t => {
    const p = place(t)
    const server = await MountServer.start(
      { lowers: [{ kind: 'directory', path: p.lower }], upper: p.upper, work: p.work },
      p.merged,
    )
    t.teardown(async () => {
      execFileSync('umount', ['-l', p.merged])
      await server.ended
    })
    sh(p.merged, CHANGES)
    await check(t, p)
  },
)

t.test('an upper in the forms that need no privilege: .wh. marks, user. attributes', async t => {
  const dir = mkdtempSync(join(tmpdir(), 'lamina-upper-'))
  t.teardown(() => rmSync(dir, { recursive: true, force: true }))
  sh(
    dir,
    `mkdir lower upper; cd lower; mkdir -p a b c/d; echo 1 > a/1; echo 2 > a/2; echo 3 > b/3; echo 4 > c/d/4; echo 5 > x
     cd ../upper; mkdir -p a b moved; touch a/.wh.1 b/.wh..wh..opq; echo n > b/n
     touch x; touch c; setfattr -n user.overlay.whiteout -v '' x c; setfattr -n user.overlay.opaque -v x . || true
     setfattr -n user.overlay.redirect -v /c/d moved; cp -p --attributes-only ../lower/a . 2>/dev/null || true
     for d in a b; do touch -r ../lower/$d $d; done; touch -r ../lower/c/d moved; touch -r ../lower .`,
  )
  const below = openDirectoryLayer(bytesOf(join(dir, 'lower')))
  const upper = openDirectoryLayer(bytesOf(join(dir, 'upper')))
  t.teardown(() => {
    below.close()
    upper.close()
  })
  t.same(
    dockerLines(compare([below], [upper, below])).map(l => `${l.kind} ${l.path}`),
    ['C /a', 'D /a/1', 'C /b', 'D /b/3', 'A /b/n', 'D /c', 'A /moved', 'A /moved/4', 'D /x'],
  )
})
