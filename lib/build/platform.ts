/**
 * Owns platforms: `os/arch[/variant]` as text, this machine's, and whether another one's programs can run here.
 * Format: OCI image index, "platform"; names are Go's (amd64, arm64).
 */
import { readdirSync, readFileSync } from 'node:fs'
import { BuildError } from './error.js'
import type { Platform } from './store.js'

const ARCHITECTURES: Readonly<Record<string, string>> = {
  x64: 'amd64',
  x86_64: 'amd64',
  'x86-64': 'amd64',
  aarch64: 'arm64',
  ia32: '386',
  i386: '386',
  armhf: 'arm',
}

/** This machine's platform. */
export const HOST: Platform = { os: 'linux', architecture: ARCHITECTURES[process.arch] ?? process.arch }

/** `linux/arm64/v8`, `linux/amd64`, `arm64`, `linux`. Throws BuildError PLATFORM. */
export function parsePlatform(text: string): Platform {
  const parts = text.toLowerCase().split('/')
  if (text === '' || parts.length > 3 || parts.some(p => !/^[a-z0-9_.-]+$/.test(p)))
    throw new BuildError('PLATFORM', `invalid platform "${text}": write it as linux/amd64 or linux/arm64/v8`)
  if (parts.length === 1) {
    if (parts[0] === 'linux') return HOST
    return { os: 'linux', architecture: architecture(parts[0]!) }
  }
  const [os, arch, variant] = parts
  if (os !== 'linux') throw new BuildError('PLATFORM', `platform "${text}": only linux images can be built`)
  // arm64 is always v8: both spellings are one platform.
  const plain = variant === undefined || (architecture(arch!) === 'arm64' && variant === 'v8')
  return plain ? { os, architecture: architecture(arch!) } : { os, architecture: architecture(arch!), variant }
}

function architecture(name: string): string {
  return ARCHITECTURES[name] ?? name
}

export function formatPlatform({ os, architecture, variant }: Platform): string {
  return variant === undefined ? `${os}/${architecture}` : `${os}/${architecture}/${variant}`
}

const QEMU: Readonly<Record<string, string>> = { amd64: 'x86_64', arm64: 'aarch64', '386': 'i386' }

/** Whether the kernel starts programs of `platform`: its own, or those a binfmt_misc handler is registered for. */
export function runsHere(platform: Platform, binfmt = '/proc/sys/fs/binfmt_misc'): boolean {
  if (platform.architecture === HOST.architecture) return true
  if (platform.architecture === '386' && HOST.architecture === 'amd64') return true
  try {
    const wanted = `qemu-${QEMU[platform.architecture] ?? platform.architecture}`
    return readdirSync(binfmt).includes(wanted) && readFileSync(`${binfmt}/${wanted}`, 'utf8').startsWith('enabled')
  } catch {
    return false
  }
}
