/**
 * `node dist/bench/runtime.js [--repeat N] [--json FILE] [--only WORD] [--cgroup-parent PATH]`: containers beside podman's, in one run: started and
 * ended without a network and on a bridge, a command in a running one; and the memory that a running one costs.
 * On a busy machine, run it in a cgroup with a large share of the processor and name that as --cgroup-parent.
 * Where the host mounts cgroup v2 beside v1, crun refuses to work: podman gets a mount namespace without that mount.
 */
import { spawn, execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { makeTinyBase } from '../test/build/tiny-base.js'
import { clearPeers, environment, has, lamina, measure, peer, run, type Row } from './side-by-side.js'

const { values: options } = parseArgs({
  options: {
    repeat: { type: 'string' },
    json: { type: 'string' },
    only: { type: 'string' },
    'cgroup-parent': { type: 'string' },
  },
})
const scratch = mkdtempSync(join(tmpdir(), 'lamina-bench-runtime-'))
const env = environment(scratch)
const image = 'localhost/tiny:1'
const unified = '/sys/fs/cgroup/unified'

/** Lives while the bench does; its mount namespace is podman's. */
const holder = existsSync(unified)
  ? spawn('unshare', ['-m', 'sh', '-c', `umount ${unified} && echo ready && exec cat`], {
      stdio: ['pipe', 'pipe', 'inherit'],
    })
  : undefined
if (holder !== undefined) await once(holder.stdout, 'data')

const podman = [
  ...(holder === undefined ? [] : ['nsenter', '-m', '-t', String(holder.pid)]),
  ...peer('podman', scratch),
]
const parent = options['cgroup-parent'] === undefined ? [] : ['--cgroup-parent', options['cgroup-parent']]
/** Podman's defaults may be more than what this session may ask for. */
const limits = ['--ulimit', 'nofile=1024:1024', '--ulimit', 'nproc=1024:1024', ...parent]

try {
  const tiny = join(scratch, 'tiny')
  makeTinyBase(tiny)
  const tar = join(scratch, 'tiny.tar')
  execFileSync('tar', ['-C', tiny, '-cf', tar, '.'])
  run([...lamina, 'import', '--change', 'ENV PATH=/bin', tar, image], env)
  const name = run([...lamina, 'run', '-d', ...parent, image, 'sleep', '100000'], env).trim()
  const beside = has('podman')
  const commands = (own: string[], others: string[]): Row['commands'] => ({
    lamina: [...lamina, ...own],
    ...(beside ? { podman: [...podman, ...others] } : {}),
  })
  let other = ''
  if (beside) {
    run([...podman, 'import', '--change', 'ENV PATH=/bin', tar, image], env)
    other = run([...podman, 'run', '-d', ...limits, image, 'sleep', '100000'], env).trim()
  }
  const alone = ['run', '--rm', '--network', 'none']
  const rows: Row[] = [
    {
      title: 'run --rm --network none',
      commands: commands([...alone, ...parent, image, 'env'], [...alone, ...limits, image, 'env']),
    },
    {
      title: 'run --rm, bridge',
      commands: commands(['run', '--rm', ...parent, image, 'env'], ['run', '--rm', ...limits, image, 'env']),
    },
    { title: 'exec', commands: commands(['exec', name, 'env'], ['exec', other, 'env']) },
  ]
  const wanted = rows.filter(row => options.only === undefined || row.title.includes(options.only))
  measure({ rows: wanted, repeat: Number(options.repeat ?? 15), env, json: options.json })
  const { supervisor } = JSON.parse(readFileSync(join(scratch, 'store/containers', name, 'state.json'), 'utf8')) as {
    supervisor: number
  }
  const pss = /^Pss:\s+(\d+)/m.exec(readFileSync(`/proc/${supervisor}/smaps_rollup`, 'utf8'))?.[1]
  process.stdout.write(`\na detached container's supervisor: ${(Number(pss) / 1024).toFixed(1)} MB proportional\n`)
  run([...lamina, 'rm', '-f', name], env)
} finally {
  if (has('podman')) run([...podman, 'rm', '-af', '-t', '0'], env)
  clearPeers(scratch, env)
  holder?.kill()
  rmSync(scratch, { recursive: true, force: true })
}
