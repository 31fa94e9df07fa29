/**
 * Owns a command whose process goes on behind it: bin/lamina.sh starts `mount` so, waits until fd 4 says the exit code or
 * closes, and ends. Nothing of the terminal is held: Node would open it anew for its own streams, so these are plain writes.
 * Node's streams, and what they load (node:tty, node:net), take 20 ms: a mount that goes well never asks for them.
 */
import { closeSync, writeSync } from 'node:fs'
import { cloexecFrom } from '../sys/file.js'
import type { Output } from './command.js'
import { main } from './main.js'

const REPORT = 4

/** Runs the command; when it has not left before, its exit code is said at the end of the process. */
export async function mainThatStays(argv: readonly string[]): Promise<void> {
  delete process.env['LAMINA_STAY']
  cloexecFrom(3)
  let left = false
  const leave = (code: number): void => {
    if (left) return
    left = true
    try {
      writeSync(REPORT, String(code))
    } catch {
      // Whoever asked is gone; the mount stays.
    }
    closeSync(REPORT)
  }
  process.once('exit', leave)
  process.exitCode = await main(argv, {
    get stdin() {
      return process.stdin
    },
    stdout: output(1),
    stderr: output(2),
    stay: { leave },
  })
}

function output(fd: number): Output {
  const write = (chunk: string | Uint8Array): boolean => {
    let rest = typeof chunk === 'string' ? Buffer.from(chunk) : chunk
    while (rest.length > 0) rest = rest.subarray(writeSync(fd, rest))
    return true
  }
  return {
    write,
    get isTTY() {
      return process.getBuiltinModule('node:tty').isatty(fd)
    },
  }
}
