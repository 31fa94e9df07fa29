/**
 * Owns turning a description into a filesystem: opens each lower, joins them with the upper. Loads only the kinds of
 * layer that the description names. Runs in the thread that will serve.
 * Invariant: when it throws, nothing stays open.
 */
import { bytesOf } from '../bytes.js'
import { E, FsError } from '../errno.js'
import type { Layer } from '../layer/layer.js'
import { AT, O } from '../sys/constants.js'
import { close, openat } from '../sys/file.js'
import { fstatfs, StatFs } from '../sys/stat.js'
import type { Filesystem } from '../union/filesystem.js'
import { MountError } from './failure.js'
import { isWritable, type LowerSpec, type StackSpec } from './spec.js'

export interface Stack {
  readonly filesystem: Filesystem
  /** How deep passthrough has to stack: 2 where a part lies on a stacking filesystem. */
  readonly stackDepth: 1 | 2
}

/** Opens `spec`. Throws MountError. */
export async function openStack(spec: StackSpec): Promise<Stack> {
  const lowers: Layer[] = []
  try {
    for (const lower of spec.lowers) lowers.push(await openLower(lower))
    const { createUnion } = await import('../union/options.js')
    const upper = spec.upper !== undefined && (isWritable(spec) || spec.work !== undefined)
    if (spec.upper !== undefined && !upper) lowers.unshift(await openLower({ kind: 'directory', path: spec.upper }))
    const filesystem = createUnion({
      lowers,
      ...(upper
        ? { upper: { path: bytesOf(spec.upper as string) }, work: { path: bytesOf(spec.work as string) } }
        : {}),
      readOnly: !isWritable(spec),
      volatile: spec.volatile === true,
      kernelCompatible: spec.kernelCompatible === true,
      ...(spec.asLower === undefined ? {} : { asLower: spec.asLower }),
      ...(spec.ids === undefined ? {} : { ids: spec.ids }),
    })
    return { filesystem, stackDepth: stackDepth(spec) }
  } catch (error) {
    for (const layer of lowers) layer.close()
    throw workFailure(error, spec)
  }
}

async function openLower(lower: LowerSpec): Promise<Layer> {
  try {
    if (lower.kind === 'directory') {
      const { openDirectoryLayer } = await import('../layer/directory.js')
      return openDirectoryLayer(bytesOf(lower.path))
    }
    const { openIndex } = await import('../layer/indexed.js')
    return openIndex(bytesOf(lower.path), bytesOf(lower.objects))
  } catch (error) {
    if (error instanceof Error && error.name === 'IndexFormatError')
      throw new MountError('LOWER_CORRUPT', `mount lower ${lower.path}: ${error.message}`, lower.path)
    if (!(error instanceof FsError)) throw error
    const denied = error.code === 'EACCES' || error.code === 'EPERM'
    const code = denied ? 'LOWER_UNREADABLE' : 'LOWER_NOT_FOUND'
    throw new MountError(code, `mount lower ${lower.path}: ${error.message}`, lower.path)
  }
}

/** What the union says about its upper and work directories, in our codes. */
export function workFailure(error: unknown, spec: StackSpec): unknown {
  if (!(error instanceof FsError)) return error
  switch (-error.errno) {
    case E.EBUSY:
      return new MountError('UPPER_IN_USE', `mount upper ${spec.upper}: another mount uses it`, spec.upper)
    case E.EXDEV:
      return new MountError(
        'WORK_OTHER_FILESYSTEM',
        `mount work ${spec.work}: it is on another filesystem than the upper`,
        spec.work,
      )
    case E.EOPNOTSUPP:
      return new MountError(
        'UPPER_UNSUPPORTED',
        `mount upper ${spec.upper}: its filesystem has no extended attributes for the union's marks`,
        spec.upper,
      )
    case E.EUCLEAN:
      return new MountError(
        'UPPER_LOST',
        `mount upper ${spec.upper}: it was mounted volatile when the machine went down, and may be torn`,
        spec.upper,
      )
    default:
      return new MountError('UPPER_NOT_WRITABLE', `mount upper ${spec.upper}: ${error.message}`, spec.upper)
  }
}

/** Filesystems that stack on others (statfs(2) f_type): overlayfs, ecryptfs, and FUSE, which may pass through. */
const STACKING = new Set([0x794c7630, 0xf15f, 0x65735546])

/** How many stacking filesystems a mount of `spec` makes, the parts' own included (fs.h: FILESYSTEM_MAX_STACK_DEPTH). */
export function stackDepth(spec: StackSpec): 1 | 2 {
  const paths = spec.lowers.map(lower => (lower.kind === 'directory' ? lower.path : lower.objects))
  if (spec.upper !== undefined) paths.push(spec.upper)
  const st = new StatFs()
  return paths.some(path => {
    const fd = openat(AT.FDCWD, bytesOf(path), O.PATH)
    if (fd < 0) return false
    const r = fstatfs(fd, st)
    close(fd)
    return r >= 0 && STACKING.has(st.type)
  })
    ? 2
    : 1
}
