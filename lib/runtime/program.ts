/** Owns finding a program of this machine as a shell would: by its name in PATH. */
import { accessSync, constants, statSync } from 'node:fs'
import { delimiter, join } from 'node:path'

/** The path of `name` in PATH, or `name` itself where it is a path; undefined when there is none to execute. */
export function findProgram(name: string): string | undefined {
  const places = name.includes('/') ? [name] : (process.env['PATH'] ?? '').split(delimiter).map(dir => join(dir, name))
  return places.find(canExecute)
}

function canExecute(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return statSync(path).isFile()
  } catch {
    return false
  }
}
