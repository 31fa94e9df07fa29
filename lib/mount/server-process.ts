/**
 * Owns the detached server process (launch.ts starts it): reads its orders from fd 3, serves in its only thread, answers
 * on fd 3. What it logs goes to standard error, which is the log file.
 */
import { closeSync, readSync, writeSync } from 'node:fs'
import { cloexecFrom } from '../sys/file.js'
import { failureOf } from './failure.js'
import type { ServerAnswer } from './launch.js'
import { logTo, serveToEnd, type ServeRequest } from './serve.js'

const CHANNEL = 3

function readLine(): string {
  const chunks: Buffer[] = []
  for (;;) {
    const chunk = Buffer.alloc(65536)
    const n = readSync(CHANNEL, chunk)
    chunks.push(chunk.subarray(0, n))
    if (n === 0 || chunk[n - 1] === 10) return Buffer.concat(chunks).toString()
  }
}

function answer(data: ServerAnswer): void {
  try {
    writeSync(CHANNEL, `${JSON.stringify(data)}\n`)
  } catch {
    // Whoever asked is gone; the mount stays.
  }
  closeSync(CHANNEL)
}

async function main(): Promise<void> {
  cloexecFrom(CHANNEL)
  const request = JSON.parse(readLine()) as ServeRequest
  try {
    await serveToEnd(request, record => answer({ record }), logTo(2))
  } catch (error) {
    answer({ failure: failureOf(error) })
    process.exit(1)
  }
}

void main()
