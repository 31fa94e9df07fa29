/** Owns `--driver`: who joins the layers of a mount, a container or a build step (lib/mount/spec.ts). */
import type { Driver } from '../mount/spec.js'
import { UsageError } from './command.js'

const drivers: readonly Driver[] = ['fuse', 'overlay']

export const driverOption = {
  type: 'string',
  choices: drivers,
  describe: "Who joins the layers: Lamina (fuse), or the kernel's overlayfs on what Lamina shows it",
} as const

/** What was chosen, else `LAMINA_DRIVER`. Throws UsageError. */
export function driverOf(chosen: string | undefined): Driver {
  if (chosen !== undefined) return chosen as Driver
  const wanted = process.env['LAMINA_DRIVER'] ?? ''
  if (wanted === '') return 'fuse'
  const driver = drivers.find(name => name === wanted)
  if (driver === undefined) throw new UsageError(`LAMINA_DRIVER ${wanted}: not fuse or overlay`)
  return driver
}
