/** Mounting without being root: inside a user namespace, and as a plain user through fusermount3. */
import { spawnSync } from 'node:child_process'
import { chmodSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { cannotMount, workspace, type Workspace } from './workspace.js'

const program = fileURLToPath(new URL('./mount-and-use.js', import.meta.url))

/** Runs mount-and-use.ts under `prefix` (argv of a command that changes who we are); its output. */
function use(w: Workspace, prefix: readonly string[], script: string): string {
  const request = JSON.stringify({ spec: w.spec, mountpoint: w.point, runRoot: w.runRoot })
  const [file, ...args] = [...prefix, process.execPath, program, request, script]
  const r = spawnSync(file, args, {
    encoding: 'utf8',
    env: { ...process.env, M: w.point, B: w.base },
    cwd: '/',
    timeout: 200_000,
  })
  return r.status === 0 ? r.stdout : `exit ${r.status}: ${r.stdout}${r.stderr}`
}

const userNamespaces = spawnSync('unshare', ['-Urm', 'true']).status === 0
const inNamespace = { skip: cannotMount || (userNamespaces ? false : 'user namespaces are not allowed here') }

t.test('in a user namespace the mount is writable, without passthrough', inNamespace, t => {
  const w = workspace(t)
  writeFileSync(join(w.lower, 'f'), 'lower')
  w.sh('chown 0:0 $L/f')
  const script = `cat $M/f; echo more >> $M/f; cat $M/f; mkdir $M/d; echo x > $M/d/y; mv $M/d $M/e; rm $M/e/y; ls $M
    dd if=/dev/zero of=$M/big bs=1M count=3 status=none; stat -c %s $M/big; stat -c %u $M/big`
  t.equal(use(w, ['unshare', '-Urm'], script), 'passthrough false\nlowerlowermore\ne\nf\n3145728\n0\n')
  t.equal(w.sh('cat $L/f; cat $U/f'), 'lowerlowermore\n')
  t.end()
})

const helper = spawnSync('sh', ['-c', 'command -v fusermount3 && command -v setpriv']).status === 0
const asUser = { skip: cannotMount || (helper ? false : 'needs fusermount3 and setpriv') }

t.test('a plain user mounts through fusermount3, whose fd arrives over a socket', asUser, t => {
  const w = workspace(t)
  writeFileSync(join(w.lower, 'f'), 'lower')
  for (const path of [w.lower, w.upper, w.work, w.runRoot, w.point]) w.sh(`chown 1000:1000 ${path}; chown 1000 $L/f`)
  chmodSync(w.base, 0o755)
  // A /dev/fuse that users may open, seen by this test only.
  const setup = `mknod $B/fuse c 10 229 && chmod 666 $B/fuse && mount --bind $B/fuse /dev/fuse &&
    exec setpriv --reuid=1000 --regid=1000 --clear-groups "$@"`
  const prefix = ['unshare', '-m', 'sh', '-c', setup, 'sh']
  const script = `cat $M/f; stat -c %u $M/f; echo new > $M/g; cat $M/g; stat -c %u $M/g; ls $M`
  t.equal(use(w, prefix, script), 'passthrough false\nlower1000\nnew\n1000\nf\ng\n')
  t.equal(w.sh('cat $L/f'), 'lower')
  t.end()
})
