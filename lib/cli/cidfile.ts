/** Owns --cidfile: taken before the container is made, for two commands must not share one; gone again if none was made. */
import { rmSync, writeFileSync } from 'node:fs'
import type { Container } from '../runtime/containers.js'
import { UsageError } from './command.js'

/** Runs `make` and writes the id of what it made to `path`. Throws UsageError when there is such a file. */
export async function withCidfile(path: string | undefined, make: () => Promise<Container>): Promise<Container> {
  if (path === undefined) return make()
  if (path === '') throw new UsageError('--cidfile needs a path')
  try {
    writeFileSync(path, '', { flag: 'wx' })
  } catch (error) {
    throw new UsageError(`--cidfile ${path}: ${(error as NodeJS.ErrnoException).code ?? String(error)}`)
  }
  try {
    const container = await make()
    writeFileSync(path, container.id)
    return container
  } catch (error) {
    rmSync(path, { force: true })
    throw error
  }
}
