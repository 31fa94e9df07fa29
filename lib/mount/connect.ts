/**
 * Owns joining an open stack and a /dev/fuse fd into a session, with the wishes that fit this process and this mount;
 * and making the mount itself with errors in our codes.
 */
import { bytesOf } from '../bytes.js'
import { E, FsError } from '../errno.js'
import { HelperError, mountAt, mountByHelper, mountDetached, type Detached, type MountOptions } from '../fuse/mount.js'
import { Session, type SessionOptions } from '../fuse/session.js'
import { AT, MOUNT_ATTR, MOVE_MOUNT, MS } from '../sys/constants.js'
import { close } from '../sys/file.js'
import { moveMount } from '../sys/mount.js'
import { MountError } from './failure.js'
import { inInitialUserNamespace, mayMount } from './privilege.js'
import { isWritable, type MountSpec } from './spec.js'
import type { Stack } from './stack.js'

export interface ConnectOptions extends Pick<
  SessionOptions,
  'fd' | 'tree' | 'log' | 'counters' | 'wake' | 'wakeFds' | 'onReady'
> {
  readonly spec: MountSpec
  readonly stack: Stack
}

export function connect({ spec, stack, ...rest }: ConnectOptions): Session {
  // Below the kernel's overlayfs there is room for one stacking filesystem (fs.h: FILESYSTEM_MAX_STACK_DEPTH).
  const room = spec.asLower === undefined || stack.stackDepth === 1
  const machineRoot = mayMount() && inInitialUserNamespace()
  const passthrough = spec.passthrough !== false && room && machineRoot
  return new Session({
    ...rest,
    filesystem: stack.filesystem,
    volatile: spec.volatile === true,
    wishes: {
      passthrough,
      writeback: spec.writeback !== false && isWritable(spec),
      acl: spec.acl !== false,
      noOpen: spec.writeback !== false && (spec.noOpen ?? (!machineRoot && spec.lowers.every(l => l.kind === 'index'))),
      stackDepth: stack.stackDepth,
    },
  })
}

function options(spec: MountSpec): MountOptions {
  return {
    source: spec.source ?? 'lamina',
    readOnly: !isWritable(spec),
    allowOther: spec.allowOther ?? mayMount(),
    flags: (spec.nosuid === true ? MS.NOSUID : 0) | (spec.nodev === true ? MS.NODEV : 0),
  }
}

/**
 * Makes the mount of `spec`. `mountFd` is it, in no tree yet (to be `put`), or -1 when it had to be mounted on `mountpoint`
 * at once: by the helper where the process may not mount, or on a kernel below 5.2. Throws MountError.
 */
export function begin(spec: MountSpec, mountpoint: string | undefined): Detached {
  const attributes = (spec.nosuid === true ? MOUNT_ATTR.NOSUID : 0) | (spec.nodev === true ? MOUNT_ATTR.NODEV : 0)
  try {
    if (mountpoint === undefined || mayMount()) {
      try {
        return mountDetached(options(spec), attributes)
      } catch (error) {
        if (mountpoint === undefined || !(error instanceof FsError) || error.errno !== -E.ENOSYS) throw error
        return { fd: mountAt(bytesOf(mountpoint), options(spec)), mountFd: -1 }
      }
    }
    return { fd: mountByHelper(bytesOf(mountpoint), options(spec)), mountFd: -1 }
  } catch (error) {
    throw mountFailure(error, mountpoint ?? 'a tree of its own')
  }
}

/** Puts the detached mount `mountFd` on `mountpoint`, and closes it. Throws MountError. */
export function put(mountFd: number, mountpoint: string): void {
  const r = moveMount(mountFd, '', AT.FDCWD, bytesOf(mountpoint), MOVE_MOUNT.F_EMPTY_PATH | MOVE_MOUNT.T_SYMLINKS)
  close(mountFd)
  if (r < 0) throw mountFailure(new FsError(r, 'mount', mountpoint), mountpoint)
}

function mountFailure(error: unknown, where: string): unknown {
  if (error instanceof HelperError) return new MountError('NOT_PERMITTED', `mount ${where}: ${error.reason}`, where)
  if (!(error instanceof FsError)) return error
  if (error.syscall === 'open') {
    const denied = error.code === 'EACCES' || error.code === 'EPERM'
    return denied
      ? new MountError('NOT_PERMITTED', 'mount: /dev/fuse: permission denied', '/dev/fuse')
      : new MountError(
          'NO_FUSE',
          `mount: /dev/fuse: not usable here (${error.code}); is the fuse module loaded?`,
          '/dev/fuse',
        )
  }
  if (error.syscall === 'fusermount3')
    return new MountError('NO_FUSERMOUNT', `mount ${where}: an ordinary user needs fusermount3 (package fuse3)`, where)
  if (error.code === 'EBUSY') return new MountError('MOUNTPOINT_BUSY', `mount ${where}: it is in use`, where)
  if (error.code === 'EPERM' || error.code === 'EACCES')
    return new MountError('NOT_PERMITTED', `mount ${where}: not permitted`, where)
  if (error.code === 'ENODEV') return new MountError('NO_FUSE', `mount ${where}: this kernel has no FUSE`, where)
  return new MountError('SERVER_FAILED', `mount ${where}: ${error.message}`, where)
}
