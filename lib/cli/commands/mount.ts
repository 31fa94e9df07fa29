/** `lamina mount`: directories (or an image) as one tree at a mount point. */
import { realpathSync } from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import type { IdMapOptions, IdRange } from '../../union/id-map.js'
import type { MountRecord } from '../../mount/registry.js'
import type { Driver, MountSpec, Transport } from '../../mount/spec.js'
import { defineCommand, UsageError, type Context } from '../command.js'
import type { ImageMount } from '../image-mount.js'
import { driverOption } from '../driver.js'
import { parseOverlayOptions } from '../overlay-options.js'

export const command = defineCommand({
  command: 'mount [image] <mountpoint>',
  describe: 'Mount an image, or directories as one tree',
  builder: {
    lower: {
      alias: 'l',
      type: 'string',
      array: true,
      requiresArg: true,
      describe: 'Read-only directory; repeat it, topmost first',
    },
    upper: { alias: 'u', type: 'string', describe: 'Directory that takes the changes (none: the mount is read-only)' },
    work: { alias: 'w', type: 'string', describe: "Empty directory on the upper's filesystem, for what is under way" },
    option: {
      alias: 'o',
      type: 'string',
      array: true,
      describe: 'The same as overlayfs has it: lowerdir=A:B,upperdir=U,workdir=W[,ro][,volatile]; \\: and \\, in names',
    },
    writable: {
      type: 'string',
      requiresArg: false,
      describe:
        'With an image: keep changes in a container of this name (made if there is none; =NAME may be left out)',
    },
    'read-only': { alias: 'r', type: 'boolean', describe: 'Refuse every change, although there is an upper' },
    volatile: {
      type: 'boolean',
      describe: 'Never wait for the disk (fsync does nothing); after a power loss throw the upper away',
    },
    foreground: { alias: 'f', type: 'boolean', describe: 'Serve in this process until unmounted (Ctrl-C unmounts)' },
    'kernel-compatible': {
      type: 'boolean',
      describe: 'Write only what the kernel can mount with -o userxattr (as an ordinary user)',
    },
    'squash-to-uid': { type: 'string', describe: 'Show everything as owned by this user id (with --squash-to-gid)' },
    'squash-to-gid': { type: 'string', describe: 'Show everything as owned by this group id' },
    'uid-map': { type: 'string', array: true, describe: 'SHOWN:STORED:COUNT: show user ids of the layers shifted' },
    'gid-map': { type: 'string', array: true, describe: 'SHOWN:STORED:COUNT: show group ids of the layers shifted' },
    driver: driverOption,
    transport: {
      type: 'string',
      choices: ['direct', 'fuse-native'],
      describe: 'How to talk to the kernel: /dev/fuse itself, or libfuse 2 by the package fuse-native',
    },
    json: { type: 'boolean', describe: 'Print the record of the mount' },
  },
  examples: [
    ['mount debian:12 /mnt', 'An image, read-only, without unpacking it'],
    ['mount --writable=work debian:12 /mnt', 'With a top layer: lamina diff work, lamina commit work mine:1'],
    ['mount --lower /usr /mnt', 'A read-only view that cannot change /usr'],
    ['mount --lower over --lower base --upper changes --work scratch /mnt', 'Two parents, over hides base'],
    ['mount -o lowerdir=over:base,upperdir=changes,workdir=scratch /mnt', 'The same'],
  ],
  epilogue:
    'Returns when the mount answers; its server then runs on by itself and ends with the mount (lamina unmount, umount). ' +
    "'lamina mounts' lists it and its log. Lowers must not change while they are mounted.",
  async handler(args, context) {
    const given = specFrom(args)
    const mountpoint = realPlace(args.mountpoint)
    const { runRoot, stdout } = context
    let spec = given
    let mounted: ImageMount | undefined
    if (args.image !== undefined) {
      if (given.lowers.length > 0 || given.upper !== undefined)
        throw new UsageError('an image and --lower or --upper exclude each other')
      mounted = await (await import('../image-mount.js')).imageMount(args.image, args.writable, given.driver, context)
      spec = { ...given, ...mounted.stack }
    } else if (args.writable !== undefined) throw new UsageError('--writable goes with an image')
    if (args.foreground === true) return foreground(spec, mountpoint, context)
    const { printJson } = args.json === true ? await import('../print.js') : {}
    const print = (record: MountRecord): void => {
      if (printJson !== undefined) printJson(stdout, record)
      else if (mounted?.name !== undefined) stdout.write(`${mounted.name}\n`)
    }
    const { stay } = context
    if (stay !== undefined) {
      const { serveOn } = await import('../../mount/serve-on.js')
      await mounted?.servedBy(process.pid, mountpoint)
      return serveOn({ spec, mountpoint, runRoot }, print, () => stay.leave(0))
    }
    const { launchServer } = await import('../../mount/launch.js')
    const record = await launchServer({ spec, mountpoint, runRoot })
    await mounted?.servedBy(record.pid, mountpoint)
    print(record)
    // An image's pin is let go of as the process ends.
    if (mounted !== undefined) return 0
    const { leave } = await import('../leave.js')
    return leave(0, stdout, context.stderr)
  },
})

interface Given {
  readonly lower: readonly string[] | undefined
  readonly upper: string | undefined
  readonly work: string | undefined
  readonly option: readonly string[] | undefined
  readonly readOnly: boolean | undefined
  readonly volatile: boolean | undefined
  readonly kernelCompatible: boolean | undefined
  readonly squashToUid: string | undefined
  readonly squashToGid: string | undefined
  readonly uidMap: readonly string[] | undefined
  readonly gidMap: readonly string[] | undefined
  readonly driver: string | undefined
  readonly transport: string | undefined
}

/** Joins the two ways to say it. What is said twice is refused, because neither order would be what all people expect. */
function specFrom(given: Given): MountSpec {
  const overlay = parseOverlayOptions(given.option ?? [])
  for (const [name, own, other] of [
    ['lower', given.lower, overlay.lower.length > 0],
    ['upper', given.upper, overlay.upper !== undefined],
    ['work', given.work, overlay.work !== undefined],
  ] as const)
    if (own !== undefined && other) throw new UsageError(`--${name} and -o ${name}dir say it twice`)
  const upper = given.upper ?? overlay.upper
  const work = given.work ?? overlay.work
  if (upper === undefined && work !== undefined) throw new UsageError('--work is of no use without --upper')
  for (const [name, value] of Object.entries({ upper, work }))
    if (value === '') throw new UsageError(`--${name} needs a directory`)
  return {
    lowers: [...(given.lower ?? []), ...overlay.lower].map(path => {
      if (path === '') throw new UsageError('--lower needs a directory')
      return { kind: 'directory', path: resolve(path) }
    }),
    ...(upper === undefined ? {} : { upper: resolve(upper) }),
    ...(work === undefined ? {} : { work: resolve(work) }),
    readOnly: given.readOnly === true || overlay.readOnly,
    volatile: given.volatile === true || overlay.volatile,
    kernelCompatible: given.kernelCompatible === true,
    ...idsFrom(given),
    ...(given.driver === undefined ? {} : { driver: given.driver as Driver }),
    ...(given.transport === undefined ? {} : { transport: given.transport as Transport }),
  }
}

function idsFrom(given: Given): Pick<MountSpec, 'ids'> {
  const ids: IdMapOptions = {
    ...(given.uidMap === undefined ? {} : { uids: given.uidMap.map(text => idRange('--uid-map', text)) }),
    ...(given.gidMap === undefined ? {} : { gids: given.gidMap.map(text => idRange('--gid-map', text)) }),
    ...(given.squashToUid === undefined ? {} : { squashToUid: idOf('--squash-to-uid', given.squashToUid) }),
    ...(given.squashToGid === undefined ? {} : { squashToGid: idOf('--squash-to-gid', given.squashToGid) }),
  }
  return Object.keys(ids).length === 0 ? {} : { ids }
}

function idRange(option: string, text: string): IdRange {
  const match = /^(\d+):(\d+):(\d+)$/.exec(text)
  if (match === null) throw new UsageError(`${option} ${text}: not SHOWN:STORED:COUNT`)
  const [shown, stored, count] = match.slice(1).map(part => idOf(option, part)) as [number, number, number]
  return { shown, stored, count }
}

function idOf(option: string, text: string): number {
  const id = /^\d+$/.test(text) ? Number(text) : NaN
  if (!(id < 0xffffffff)) throw new UsageError(`${option} ${text}: not an id`)
  return id
}

async function foreground(spec: MountSpec, mountpoint: string, { runRoot, stderr }: Context): Promise<number> {
  const { serve } = await import('../../mount/serve.js')
  process.chdir('/')
  await serve(
    { spec, mountpoint, runRoot },
    () => stderr.write(`serving ${mountpoint}; Ctrl-C unmounts\n`),
    line => stderr.write(`${line}\n`),
  )
  // fuse-native leaves handles open that would keep the process alive.
  if (spec.transport === 'fuse-native') process.exit(0)
  return 0
}

/** The path as the kernel will show it. A path that does not exist stays as it is: the mount says what is wrong with it. */
export function realPlace(path: string): string {
  const absolute = resolve(path)
  for (const real of [() => realpathSync(absolute), () => join(realpathSync(dirname(absolute)), basename(absolute))])
    try {
      return real()
    } catch {
      // Not there, or a mount whose server is gone (ENOTCONN): the directory it lies in can still be looked up.
    }
  return absolute
}
