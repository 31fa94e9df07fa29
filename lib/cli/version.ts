/** Owns the version: package.json is the one place where it is written. */
import { existsSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** The package's version, read from the nearest package.json above this file that has one (built files lie in dist/). */
export function version(): string {
  for (let directory = dirname(fileURLToPath(import.meta.url)); ; directory = dirname(directory)) {
    const file = join(directory, 'package.json')
    const found = existsSync(file)
      ? (JSON.parse(readFileSync(file, 'utf8')) as { version?: string }).version
      : undefined
    if (found !== undefined || directory === dirname(directory)) return found ?? 'unknown'
  }
}
