/**
 * Other owners than the layers have, by the command's own options: `--uid-map`, `--gid-map`, `--squash-to-uid`, on a mount
 * with the kernel's checks of permissions before it, and in a user namespace.
 */
import { spawnSync } from 'node:child_process'
import { resolve } from 'node:path'
import t, { type Test } from 'tap'
import { cannotMount, workspace, type Workspace } from './workspace.js'

const command = resolve('dist/bin/lamina.js')
const skip = cannotMount

/** A workspace with `$L/d/f` of 100005:100006, and a script that mounts it with `options`, runs `script` and unmounts. */
function prepared(t: Test): { w: Workspace; on: (options: string, script: string, prefix?: string) => string } {
  const w = workspace(t)
  w.sh(`mkdir $L/d; echo text > $L/d/f; chown -R 100005:100006 $L/d; chmod 750 $L/d; chmod 640 $L/d/f; ln -s f $L/d/s`)
  const on = (options: string, script: string, prefix = ''): string => {
    const whole = `lamina() { LAMINA_RUN=${w.runRoot} ${process.execPath} ${command} "$@"; }
      lamina mount --lower $L --upper $U --work ${w.work} ${options} $M
      end() { lamina unmount $M; }; trap end EXIT
      ${script}`
    const [file, ...args] = `${prefix} /bin/sh -euc`.trim().split(' ')
    const env = { ...process.env, L: w.lower, U: w.upper, M: w.point }
    const r = spawnSync(file ?? '', [...args, whole], { env, cwd: '/', encoding: 'utf8', timeout: 200_000 })
    return r.status === 0 ? r.stdout : `exit ${r.status ?? r.signal}: ${r.stdout}${r.stderr}`
  }
  return { w, on }
}

const owner = (...paths: string[]): string => `stat -c '%n %u:%g' ${paths.join(' ')} | sed "s|$M/||"`

t.test('a map shifts what is shown and what is stored, and permissions go by what is shown', { skip }, async t => {
  const { w, on } = prepared(t)
  const said = on(
    '--uid-map 0:100000:65536 --gid-map 0:100000:65536',
    `${owner('$M/d', '$M/d/f')}
    chmod 600 $M/d/f; chown 7 $M/d/f; chown -h 8:9 $M/d/s; echo new > $M/d/new
    chown 70000 $M/d/f 2> /dev/null || echo refused
    mkdir -m 777 $M/d/open; chmod 755 $M/d
    setpriv --reuid=33 --regid=44 --clear-groups sh -c 'echo by a user > $M/d/open/his; cat $M/d/f' 2> /dev/null || echo not his
    ${owner('$M/d/f', '$M/d/s', '$M/d/new', '$M/d/open/his')}`,
  )
  t.equal(said, 'd 5:6\nd/f 5:6\nrefused\nnot his\nd/f 7:6\nd/s 8:9\nd/new 0:0\nd/open/his 33:44\n')
  const raw = w.sh(`cd $U/d; stat -c '%n %u:%g' f s new open/his; cat new; stat -c %u:%g $L/d/f`)
  t.equal(
    raw,
    'f 100007:100006\ns 100008:100009\nnew 100000:100000\nopen/his 100033:100044\nnew\n100005:100006\n',
    'on disk',
  )
})

t.test('a squashed tree is one owner’s, whoever makes what in it', { skip }, async t => {
  const { w, on } = prepared(t)
  const said = on(
    '--squash-to-uid 1000 --squash-to-gid 1001',
    `${owner('$M/d', '$M/d/f')}
    setpriv --reuid=1000 --regid=1001 --clear-groups sh -c 'cat $M/d/f; echo more >> $M/d/f; mkdir $M/d/his; chown 0:0 $M/d/f' 2> /dev/null || echo not root
    chown 5:5 $M/d/f; echo by root > $M/d/roots
    setpriv --reuid=1002 --regid=1002 --clear-groups cat $M/d/f 2> /dev/null || echo not hers
    ${owner('$M/d/f', '$M/d/his', '$M/d/roots')}`,
  )
  const shown = ['d', 'd/f', 'd/f', 'd/his', 'd/roots'].map(path => `${path} 1000:1001\n`)
  t.equal(said, `${shown.slice(0, 2).join('')}text\nnot root\nnot hers\n${shown.slice(2).join('')}`)
  t.equal(w.sh(`cat $U/d/f; stat -c %u:%g $U/d/f`), 'text\nmore\n100005:100006\n', 'stored as it was')
})

const namespaces = spawnSync('unshare', ['-Urm', 'true']).status === 0
t.test(
  'in a user namespace with one id, squashed files can be used by it',
  { skip: skip || (namespaces ? false : 'user namespaces are not allowed here') },
  async t => {
    const { w, on } = prepared(t)
    // Only what the one id may read can be copied.
    w.sh('chmod 755 $L/d; chmod 644 $L/d/f; chown 0:0 $L $U $M')
    const said = on(
      '--squash-to-uid 0 --squash-to-gid 0',
      `${owner('$M/d/f')}; echo more >> $M/d/f; cat $M/d/f; mkdir $M/d/new; ${owner('$M/d/f', '$M/d/new')}`,
      'unshare -Urm',
    )
    t.equal(said, 'd/f 0:0\ntext\nmore\nd/f 0:0\nd/new 0:0\n')
    t.equal(w.sh('cat $L/d/f'), 'text\n')
  },
)
