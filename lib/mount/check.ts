/**
 * Owns what is refused before anything is done: directories that are missing, unreadable, or inside one another, and
 * mountpoints that cannot be. All paths are resolved (realpath), so that no symlink hides that two are one.
 * Invariant: nothing is changed here.
 */
import { accessSync, constants, existsSync, realpathSync, statSync } from 'node:fs'
import { sep } from 'node:path'
import { MountError, type MountCode } from './failure.js'
import { ownMounts } from './mount-table.js'
import type { MountSpec } from './spec.js'

/** Throws MountError when `spec` cannot be mounted on `mountpoint` (undefined: nowhere in the tree yet). */
export function checkMount(spec: MountSpec, mountpoint: string | undefined): void {
  if (spec.lowers.length === 0 && spec.upper === undefined)
    throw new MountError('NO_LAYERS', 'mount: give at least one lower directory')
  const lowers = spec.lowers.map(lower =>
    lower.kind === 'directory'
      ? directory('lower', lower.path, 'LOWER_NOT_FOUND', 'LOWER_NOT_DIRECTORY', 'LOWER_UNREADABLE', READ)
      : indexFile(lower.path, lower.objects),
  )
  const upper = checkUpper(spec, lowers)
  if (mountpoint !== undefined) checkMountpoint(mountpoint, upper)
}

const READ = constants.R_OK | constants.X_OK
const WRITE = READ | constants.W_OK

function checkUpper(spec: MountSpec, lowers: readonly string[]): string | undefined {
  if (spec.upper === undefined) return undefined
  const access = spec.readOnly === true ? READ : WRITE
  const upper = directory('upper', spec.upper, 'UPPER_NOT_FOUND', 'UPPER_NOT_DIRECTORY', 'UPPER_NOT_WRITABLE', access)
  lowers.forEach((lower, i) => {
    const path = spec.lowers[i]?.path ?? lower
    if (isInside(lower, upper))
      throw new MountError('LOWER_INSIDE_UPPER', `mount lower ${path}: it is inside the upper ${spec.upper}`, path)
  })
  if (spec.readOnly === true && spec.work === undefined) return upper
  if (spec.work === undefined)
    throw new MountError('WORK_MISSING', `mount upper ${spec.upper}: a work directory is needed beside it`, spec.upper)
  const work = directory('work', spec.work, 'WORK_NOT_FOUND', 'WORK_NOT_DIRECTORY', 'UPPER_NOT_WRITABLE', access)
  if (isInside(work, upper) || isInside(upper, work))
    throw new MountError(
      'WORK_INSIDE_UPPER',
      `mount work ${spec.work}: work and upper must not be inside one another`,
      spec.work,
    )
  if (statSync(work).dev !== statSync(upper).dev)
    throw new MountError(
      'WORK_OTHER_FILESYSTEM',
      `mount work ${spec.work}: it is on another filesystem than the upper`,
      spec.work,
    )
  return upper
}

function checkMountpoint(mountpoint: string, upper: string | undefined): void {
  // A mount whose server died says ENOTCONN to stat: find it in the kernel's table, which asks nobody.
  if (ownMounts().some(mount => mount.mountpoint === mountpoint))
    throw new MountError('MOUNTPOINT_BUSY', `mount ${mountpoint}: lamina is mounted there already`, mountpoint)
  const path = directory('on', mountpoint, 'MOUNTPOINT_NOT_FOUND', 'MOUNTPOINT_NOT_DIRECTORY', 'NOT_PERMITTED', 0)
  if (upper !== undefined && isInside(path, upper))
    throw new MountError('MOUNTPOINT_INSIDE_UPPER', `mount ${mountpoint}: it is inside its own upper`, mountpoint)
}

/** The real path of a directory that allows `access`. */
function directory(
  role: string,
  path: string,
  missing: MountCode,
  wrong: MountCode,
  refused: MountCode,
  access: number,
): string {
  try {
    const real = realpathSync(path)
    if (!statSync(real).isDirectory()) throw new MountError(wrong, `mount ${role} ${path}: not a directory`, path)
    accessSync(real, access)
    return real
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code
    if (code === 'ENOENT') throw new MountError(missing, `mount ${role} ${path}: no such directory`, path)
    if (code === 'ENOTDIR') throw new MountError(wrong, `mount ${role} ${path}: not a directory`, path)
    if (code === 'EACCES' || code === 'EPERM')
      throw new MountError(refused, `mount ${role} ${path}: permission denied`, path)
    if (code === 'EROFS') throw new MountError(refused, `mount ${role} ${path}: read-only filesystem`, path)
    if (code === 'ENOTCONN')
      throw new MountError(refused, `mount ${role} ${path}: the server of that mount is gone`, path)
    throw error
  }
}

function indexFile(path: string, objects: string): string {
  directory('objects', objects, 'LOWER_NOT_FOUND', 'LOWER_NOT_DIRECTORY', 'LOWER_UNREADABLE', READ)
  if (!existsSync(path)) throw new MountError('LOWER_NOT_FOUND', `mount lower ${path}: no such index`, path)
  return realpathSync(path)
}

/** Whether `path` is `directory` or below it. */
function isInside(path: string, directory: string): boolean {
  return path === directory || path.startsWith(directory === sep ? sep : directory + sep)
}
