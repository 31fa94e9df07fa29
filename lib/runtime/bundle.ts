/**
 * Owns a container's OCI bundle: `config.json` beside its `rootfs`, in the form that every OCI runtime reads (runtime-spec
 * 1.0). It is written at each start, whoever runs it.
 */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { OciProcess, OciSpec } from './oci.js'
import { ociSeccomp } from './seccomp/oci.js'

/** Writes `<directory>/config.json`. */
export function writeBundle(directory: string, spec: OciSpec): void {
  const { seccomp, ...linux } = spec.linux
  const filter =
    seccomp === undefined ? {} : { seccomp: ociSeccomp(seccomp, spec.process.capabilities?.bounding ?? []) }
  writeFileSync(join(directory, 'config.json'), json({ ...spec, linux: { ...linux, ...filter } }), { mode: 0o600 })
}

/** Writes the description of one process, as `RUNTIME exec --process FILE` takes it. */
export function writeProcess(file: string, process: OciProcess): void {
  writeFileSync(file, json(process), { mode: 0o600 })
}

/** "Without limit" is -1 here and 2^64 - 1 there, a number that JavaScript's numbers do not hold. */
function json(value: unknown): string {
  const unlimited = (key: string, v: unknown): unknown =>
    (key === 'soft' || key === 'hard') && v === -1 ? 'RLIM_INFINITY' : v
  const text = JSON.stringify(value, unlimited, 1)
  return `${text.replaceAll(/("(?:soft|hard)": )"RLIM_INFINITY"/g, (_, name: string) => `${name}18446744073709551615`)}\n`
}
