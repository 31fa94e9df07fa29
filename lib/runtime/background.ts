/** Owns starting a supervisor of its own process for a container, and hearing from it whether the program runs. */
import { spawn } from 'node:child_process'
import { closeSync, openSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { residentEnvironment, residentFlags } from '../resident.js'
import type { Container, Containers } from './containers.js'
import { RuntimeError, type RuntimeErrorCode } from './error.js'
import { warning } from './warning.js'

export interface BackgroundOptions {
  /** A client will attach: the program is held back until it has. */
  attach?: boolean
  size?: { rows: number; columns: number } | undefined
}

export interface Background {
  /** The program runs, or the start has failed: COMMAND_NOT_FOUND, START_FAILED … */
  readonly started: Promise<number>
}

/** What the supervisor says on its fd 3. */
interface Report {
  pid?: number
  warnings?: string[]
  code?: RuntimeErrorCode
  message?: string
}

/** Starts the supervisor; its warnings go to standard error. The container is to be in state created or exited. */
export function startInBackground(
  containers: Containers,
  container: Container,
  options: BackgroundOptions = {},
): Background {
  const main = fileURLToPath(new URL('./supervisor-main.cjs', import.meta.url))
  const log = openSync(join(container.directory, 'supervisor.log'), 'a', 0o600)
  const size = options.size === undefined ? '' : `${options.size.rows}x${options.size.columns}`
  const child = spawn(
    process.execPath,
    [...residentFlags, main, containers.root, containers.runRoot, container.id, size],
    {
      detached: true,
      stdio: ['ignore', log, log, 'pipe'],
      cwd: '/',
      env: { ...residentEnvironment(), LAMINA_ATTACH: options.attach === true ? '1' : '0' },
    },
  )
  closeSync(log)
  child.unref()
  const report = child.stdio[3] as unknown as NodeJS.ReadableStream & { unref(): void; destroy(): void }
  const started = new Promise<number>((resolve, reject) => {
    let text = ''
    const died = (why: string): void =>
      reject(new RuntimeError('START_FAILED', `start ${container.config.name}: ${why}`))
    child.on('error', error => died(error.message))
    report.on('data', (chunk: Buffer) => {
      text += chunk.toString('utf8')
      if (!text.includes('\n')) return
      const said = JSON.parse(text) as Report
      report.destroy()
      for (const line of said.warnings ?? []) process.stderr.write(warning(line))
      if (said.pid !== undefined) resolve(said.pid)
      else reject(new RuntimeError(said.code ?? 'START_FAILED', said.message ?? 'start failed'))
    })
    report.on('end', () => died(`its supervisor ended; see ${join(container.directory, 'supervisor.log')}`))
  })
  started.catch(() => undefined)
  return { started }
}
