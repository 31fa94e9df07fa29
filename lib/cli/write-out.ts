/**
 * Owns large results: to a file that is complete or not there (temporary name, rename), or to standard output at the
 * pace of who reads it.
 */
import { once } from 'node:events'
import { closeSync, fsyncSync, openSync, renameSync, rmSync, writeSync } from 'node:fs'
import type { Output } from './command.js'

export async function writeOut(source: AsyncIterable<Buffer>, path: string | undefined, stdout: Output): Promise<void> {
  if (path === undefined || path === '-') {
    for await (const chunk of source)
      if (!stdout.write(chunk) && 'once' in stdout) await once(stdout as unknown as NodeJS.WriteStream, 'drain')
    return
  }
  const temporary = `${path}.${process.pid}.part`
  const fd = openSync(temporary, 'wx', 0o666)
  try {
    for await (const chunk of source) for (let at = 0; at < chunk.length;) at += writeSync(fd, chunk, at)
    fsyncSync(fd)
    closeSync(fd)
  } catch (error) {
    closeSync(fd)
    rmSync(temporary, { force: true })
    throw error
  }
  renameSync(temporary, path)
}
