/**
 * Owns measuring whole commands side by side: Lamina and the container tools of this machine do the same thing, interleaved, in
 * one run. Every measurement is a line of JSON; at the end a table of medians and of ratios to the fastest peer.
 * Peers keep their images in `scratch`, on their native overlay driver, the fastest they have.
 */
import { spawnSync } from 'node:child_process'
import { appendFileSync } from 'node:fs'
import { join } from 'node:path'

export interface Row {
  readonly title: string
  /** What each tool runs, by its name; a tool that is missing here is not measured in this row. */
  readonly commands: Readonly<Record<string, readonly string[]>>
}

export interface Plan {
  readonly rows: readonly Row[]
  readonly repeat: number
  readonly env: NodeJS.ProcessEnv
  /** Lines of JSON go here too. */
  readonly json?: string | undefined
}

export const lamina = [process.execPath, new URL('../bin/lamina.js', import.meta.url).pathname] as const

/** The environment of every tool, with Lamina's directories below `scratch`. */
export function environment(scratch: string): NodeJS.ProcessEnv {
  const env = { ...process.env, LAMINA_ROOT: join(scratch, 'store'), LAMINA_RUN: join(scratch, 'run') }
  // Node reads every certificate of this at start; no peer does.
  delete (env as NodeJS.ProcessEnv)['NODE_EXTRA_CA_CERTS']
  return env
}

/** `podman` or `buildah` with storage below `scratch`. */
export function peer(name: 'podman' | 'buildah', scratch: string): string[] {
  const storage = ['--root', join(scratch, 'peers'), '--runroot', join(scratch, 'peers-run')]
  return [name, '--storage-driver', 'overlay', ...storage]
}

export function has(program: string): boolean {
  return spawnSync(program, ['--version']).status === 0
}

/** Runs to the end; what it printed. Throws when it fails. */
export function run([command = '', ...args]: readonly string[], env: NodeJS.ProcessEnv): string {
  const { status, stdout, stderr, error } = spawnSync(command, args, { env, encoding: 'utf8', maxBuffer: 64 << 20 })
  if (status !== 0) throw new Error(`${command} ${args.join(' ')}: ${error?.message ?? stderr}`)
  return stdout
}

/** Removes what the peers stored, so that `scratch` can be removed. */
export function clearPeers(scratch: string, env: NodeJS.ProcessEnv): void {
  if (has('podman')) spawnSync('podman', [...peer('podman', scratch).slice(1), 'rm', '-af', '-t', '0'], { env })
  if (has('podman')) spawnSync('podman', [...peer('podman', scratch).slice(1), 'system', 'prune', '-af'], { env })
  else if (has('buildah')) spawnSync('buildah', [...peer('buildah', scratch).slice(1), 'rmi', '-af'], { env })
}

export function measure({ rows, repeat, env, json }: Plan): void {
  const samples = new Map<string, number[]>()
  const add = (row: string, tool: string, seconds: number): void => {
    const key = `${row}\0${tool}`
    samples.set(key, [...(samples.get(key) ?? []), seconds])
    const line = JSON.stringify({ row, tool, seconds })
    process.stdout.write(`${line}\n`)
    if (json !== undefined) appendFileSync(json, `${line}\n`)
  }
  for (let n = 0; n < repeat; n++)
    for (const { title, commands } of rows)
      for (const [tool, command] of Object.entries(commands)) {
        const start = process.hrtime.bigint()
        run(command, env)
        add(title, tool, Number(process.hrtime.bigint() - start) / 1e9)
      }
  const median = (title: string, name: string): number => {
    const sorted = (samples.get(`${title}\0${name}`) ?? []).toSorted((a, b) => a - b)
    return sorted[Math.floor(sorted.length / 2)] ?? NaN
  }
  const names = [...new Set(rows.flatMap(row => Object.keys(row.commands)))]
  const peers = names.filter(name => name !== 'lamina')
  process.stdout.write(
    `\n| median of ${repeat} | ${names.join(' | ')} | lamina / fastest peer |\n|${' --- |'.repeat(names.length + 2)}\n`,
  )
  for (const { title } of rows) {
    const best = Math.min(...peers.map(name => median(title, name)).filter(seconds => !Number.isNaN(seconds)))
    const cells = names.map(name => `${(median(title, name) * 1000).toFixed(0)} ms`)
    process.stdout.write(`| ${title} | ${cells.join(' | ')} | ${(median(title, 'lamina') / best).toFixed(2)}× |\n`)
  }
}
