/**
 * Owns health checks: runs the test in the container at its interval, keeps the last results, and says starting, healthy
 * or unhealthy. Format: Docker's `CMD args…`, `CMD-SHELL line`. Invariant: never two checks at a time.
 */
import type { ContainerState, HealthCheck } from './config.js'
import type { Container } from './containers.js'
import { execIn } from './exec.js'

type Health = ContainerState['health']

/** Results kept, and how much of each one's output. */
const KEPT = 5
const OUTPUT = 4096

/** Starts checking. `say` gets every change. */
export function watchHealth(container: Container, check: HealthCheck, say: (health: Health) => void): { stop(): void } {
  let health: Health = { status: 'starting', failures: 0, log: [] }
  let stopped = false
  const born = Date.now()
  say(health)
  const round = async (): Promise<void> => {
    const start = new Date()
    const { exitCode, output } = await probe(container, check)
    if (stopped) return
    const result = { start: start.toISOString(), end: new Date().toISOString(), exitCode, output }
    const failures = exitCode === 0 ? 0 : health.failures + 1
    const young = Date.now() - born < check.startPeriod * 1000 && health.status === 'starting'
    const status =
      exitCode === 0 ? 'healthy' : young ? 'starting' : failures >= check.retries ? 'unhealthy' : health.status
    health = { status, failures: young ? 0 : failures, log: [...health.log, result].slice(-KEPT) }
    say(health)
    timer = setTimeout(() => void round(), wait())
  }
  const wait = (): number => {
    const starting = health.status === 'starting' && Date.now() - born < check.startPeriod * 1000
    return (starting ? (check.startInterval ?? check.interval) : check.interval) * 1000
  }
  let timer = setTimeout(() => void round(), wait())
  return {
    stop: () => {
      stopped = true
      clearTimeout(timer)
    },
  }
}

async function probe(container: Container, check: HealthCheck): Promise<{ exitCode: number; output: string }> {
  const [form, ...words] = check.test
  const args = form === 'CMD' ? words : form === 'CMD-SHELL' ? ['/bin/sh', '-c', ...words] : check.test
  let output = ''
  try {
    const executed = await execIn(container, { args })
    executed.stdio.listen((_, chunk) => {
      if (output.length < OUTPUT) output += chunk.toString('utf8')
    })
    const deadline = { passed: false }
    const timer = setTimeout(() => {
      deadline.passed = true
      executed.signal(9)
    }, check.timeout * 1000)
    const exit = await executed.exit
    clearTimeout(timer)
    executed.stdio.close()
    if (deadline.passed) return { exitCode: -1, output: `Health check exceeded timeout (${check.timeout}s)` }
    return { exitCode: exit.code, output: output.slice(0, OUTPUT) }
  } catch (error) {
    return { exitCode: -1, output: error instanceof Error ? error.message : String(error) }
  }
}
