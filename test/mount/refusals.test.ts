import { spawnSync } from 'node:child_process'
import { chmodSync, mkdirSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import type { MountCode } from '../../lib/mount/failure.js'
import type { MountSpec } from '../../lib/mount/spec.js'
import { cannotMount, workspace, type Workspace } from './workspace.js'

const options = { skip: cannotMount }

const lowers = (...paths: string[]): MountSpec['lowers'] => paths.map(path => ({ kind: 'directory', path }))

const refusals: readonly [string, MountCode, (w: Workspace) => { spec?: MountSpec; point?: string }][] = [
  ['no layer', 'NO_LAYERS', () => ({ spec: { lowers: [] } })],
  ['a lower that is missing', 'LOWER_NOT_FOUND', w => ({ spec: { lowers: lowers(join(w.base, 'none')) } })],
  ['a lower that is a file', 'LOWER_NOT_DIRECTORY', w => ({ spec: { lowers: lowers(file(w)) } })],
  ['a lower below a file', 'LOWER_NOT_DIRECTORY', w => ({ spec: { lowers: lowers(join(file(w), 'x')) } })],
  ['an upper that is missing', 'UPPER_NOT_FOUND', w => ({ spec: { ...w.spec, upper: join(w.base, 'none') } })],
  ['an upper that is a file', 'UPPER_NOT_DIRECTORY', w => ({ spec: { ...w.spec, upper: file(w) } })],
  ['an upper without work', 'WORK_MISSING', w => ({ spec: { lowers: w.spec.lowers, upper: w.upper } })],
  ['work that is missing', 'WORK_NOT_FOUND', w => ({ spec: { ...w.spec, work: join(w.base, 'none') } })],
  ['work inside the upper', 'WORK_INSIDE_UPPER', w => ({ spec: { ...w.spec, work: subdirectory(w.upper) } })],
  ['work that is the upper', 'WORK_INSIDE_UPPER', w => ({ spec: { ...w.spec, work: w.upper } })],
  ['work on another filesystem', 'WORK_OTHER_FILESYSTEM', w => ({ spec: { ...w.spec, work: '/dev/shm' } })],
  [
    'a lower inside the upper',
    'LOWER_INSIDE_UPPER',
    w => ({ spec: { ...w.spec, lowers: lowers(subdirectory(w.upper)) } }),
  ],
  [
    'a lower that is the upper, by a link',
    'LOWER_INSIDE_UPPER',
    w => ({ spec: { ...w.spec, lowers: lowers(link(w)) } }),
  ],
  ['a mountpoint that is missing', 'MOUNTPOINT_NOT_FOUND', w => ({ point: join(w.base, 'none') })],
  ['a mountpoint that is a file', 'MOUNTPOINT_NOT_DIRECTORY', w => ({ point: file(w) })],
  ['a mountpoint inside its upper', 'MOUNTPOINT_INSIDE_UPPER', w => ({ point: subdirectory(w.upper) })],
]

function file(w: Workspace): string {
  writeFileSync(join(w.base, 'file'), '')
  return join(w.base, 'file')
}

function link(w: Workspace): string {
  symlinkSync(w.upper, join(w.base, 'link'))
  return join(w.base, 'link')
}

function subdirectory(of: string): string {
  mkdirSync(join(of, 'sub'))
  return join(of, 'sub')
}

for (const [title, code, make] of refusals)
  t.test(`${title} is refused in one line, and nothing is left`, options, async t => {
    const w = workspace(t)
    const { spec, point } = make(w)
    await t.rejects(w.mount(spec, point), { code, message: /^mount[^\n]+$/ })
    t.same(readdirSync(join(w.runRoot, 'mounts')), [])
    t.same(readdirSync(w.work), [])
  })

t.test('an upper on a filesystem without extended attributes is refused', options, async t => {
  const w = workspace(t)
  w.sh('mount -t ramfs ramfs $U')
  t.teardown(() => w.sh('umount $U'))
  w.sh('mkdir $U/upper $U/work')
  const upper = join(w.upper, 'upper')
  await t.rejects(w.mount({ ...w.spec, upper, work: join(w.upper, 'work') }), {
    code: 'UPPER_UNSUPPORTED',
    path: upper,
  })
})

t.test('an upper that another mount uses is refused, and free when that is gone', options, async t => {
  const w = workspace(t)
  mkdirSync(join(w.base, 'second'))
  await w.mount()
  await t.rejects(w.mount(w.spec, join(w.base, 'second')), { code: 'UPPER_IN_USE' })
  await t.rejects(w.mount(), { code: 'MOUNTPOINT_BUSY' })
  t.equal(w.sh('ls $M | wc -l'), '0\n', 'the first still serves')
})

t.test('an ordinary user who may not use /dev/fuse is told so', options, async t => {
  const w = workspace(t)
  for (const path of [w.upper, w.work, w.runRoot, w.point]) chmodSync(path, 0o777)
  const script = `
    const { launchServer } = await import(${JSON.stringify(fileURLToPath(new URL('../../lib/mount/launch.js', import.meta.url)))})
    try { await launchServer(JSON.parse(process.argv[1])); console.log('mounted') } catch (error) { console.log(error.code) }`
  const request = JSON.stringify({ spec: w.spec, mountpoint: w.point, runRoot: w.runRoot })
  // A private /dev/fuse that only root may open, whatever the machine's own is.
  const r = spawnSync(
    'unshare',
    [
      '-m',
      'sh',
      '-c',
      'mknod $B/fuse c 10 229 && chmod 600 $B/fuse && mount --bind $B/fuse /dev/fuse && exec setpriv --reuid=1000 --regid=1000 --clear-groups "$@"',
      'sh',
      process.execPath,
      '--input-type=module',
      '-e',
      script,
      request,
    ],
    { encoding: 'utf8', env: { ...process.env, B: w.base }, cwd: '/' },
  )
  t.match(r.stdout, /NOT_PERMITTED|NO_FUSERMOUNT/, r.stderr)
})
