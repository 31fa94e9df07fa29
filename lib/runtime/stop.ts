/** Owns ending a running container from another process: by its supervisor, which knows of restarts and cleans up. */
import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { pidfdOpen, pidfdSignal } from '../sys/process.js'
import { close } from '../sys/file.js'
import { Cgroup } from './cgroup/cgroup.js'
import { isAlive, startOf, type Container, type Containers } from './containers.js'
import { RuntimeError } from './error.js'
import { Frame, frame } from './frames.js'
import { runtimeOf } from './runtime-of.js'
import { socketPath } from './socket.js'
import { liveStatus } from './status.js'

/** Sends `signal`, after `timeout` seconds SIGKILL; returns when the container has ended and its state says so. */
export async function stopContainer(
  containers: Containers,
  container: Container,
  signal: number,
  timeout: number,
): Promise<void> {
  let asked = false
  for (let tries = 0; ; tries++) {
    // A supervisor that has just begun does not listen yet.
    asked ||= await ask(container, signal, timeout)
    const loaded = containers.load(container.id)
    if (loaded === undefined) return
    const now = await containers.reconcile(loaded)
    if (now === undefined || now.state.status !== 'running') return
    if (!asked && tries === 100 && now.state.pid > 0) await signalContainer(now, 9)
    if (tries > (Math.max(0, timeout) + 30) * 50)
      throw new RuntimeError('TIMEOUT', `stop ${container.config.name}: it does not end`)
    await sleep(tries < 10 ? 5 : 20)
  }
}

function ask({ runDirectory }: Container, signal: number, timeout: number): Promise<boolean> {
  return new Promise(resolve => {
    const socket = connect(socketPath(runDirectory))
    socket.on('connect', () => socket.write(frame(Frame.Hello, JSON.stringify({ want: 'stop', signal, timeout }))))
    socket.on('error', () => resolve(false))
    socket.on('close', () => resolve(true))
    socket.resume()
  })
}

/** Sends a signal to the container's first process. Throws WRONG_STATE when it does not run. */
export async function signalContainer(container: Container, signal: number): Promise<void> {
  const { state, config } = container
  const not = (): never => {
    throw new RuntimeError('WRONG_STATE', `kill ${config.name}: it is not running`)
  }
  if (state.status !== 'running' || state.pid === 0) not()
  const pidfd = pidfdOpen(state.pid)
  if (pidfd < 0) not()
  try {
    // The pid may have been another process's when the pidfd was opened: compare after.
    if (startOf(state.pid) !== state.pidStart || !isAlive(state.pid, state.pidStart)) not()
    const runtime = await runtimeOf(container)
    if (runtime === undefined) pidfdSignal(pidfd, signal)
    else if (!runtime.kill(signal)) not()
    // A frozen process of cgroup v1 dies when it thaws.
    if (signal === 9 && liveStatus(container) === 'paused') await Cgroup.at(state.cgroup).freeze(false)
  } finally {
    close(pidfd)
  }
}
