/**
 * Owns Docker's `--change` (import, commit): one Dockerfile-like line that changes an image's config.
 * Supported: CMD, ENTRYPOINT (JSON or shell form), ENV, EXPOSE, LABEL, STOPSIGNAL, USER, VOLUME, WORKDIR. Never changes its input.
 */
import { ImageError } from './error.js'
import type { ImageConfig } from './manifest.js'

type RunConfig = NonNullable<ImageConfig['config']>
export type ConfigChange = string

/** Applies the lines in order. Throws ImageError UNSUPPORTED for an instruction that is not one of these. */
export function applyChanges(config: RunConfig, changes: readonly ConfigChange[]): RunConfig {
  const result: RunConfig = { ...config }
  for (const line of changes) {
    const [, word = '', rest = ''] = /^\s*(\S+)\s*(.*?)\s*$/s.exec(line) ?? []
    switch (word.toUpperCase()) {
      case 'CMD':
        result.Cmd = command(rest)
        break
      case 'ENTRYPOINT':
        result.Entrypoint = command(rest)
        break
      case 'ENV':
        for (const [key, value] of pairs(rest, line))
          result.Env = [...(result.Env ?? []).filter(e => !e.startsWith(`${key}=`)), `${key}=${value}`]
        break
      case 'LABEL':
        result.Labels = { ...result.Labels, ...Object.fromEntries(pairs(rest, line)) }
        break
      case 'EXPOSE':
        for (const port of rest.split(/\s+/))
          result.ExposedPorts = { ...result.ExposedPorts, [port.includes('/') ? port : `${port}/tcp`]: {} }
        break
      case 'VOLUME':
        for (const path of rest.startsWith('[') ? command(rest) : rest.split(/\s+/))
          result.Volumes = { ...result.Volumes, [path]: {} }
        break
      case 'USER':
        result.User = rest
        break
      case 'WORKDIR':
        result.WorkingDir = rest.startsWith('/') ? rest : `${(result.WorkingDir ?? '').replace(/\/$/, '')}/${rest}`
        break
      case 'STOPSIGNAL':
        result.StopSignal = rest
        break
      default:
        throw new ImageError('UNSUPPORTED', `change ${line}: ${word} is not supported here`)
    }
  }
  return result
}

function command(text: string): string[] {
  if (text.startsWith('[')) {
    try {
      const list = JSON.parse(text) as unknown
      if (Array.isArray(list) && list.every(item => typeof item === 'string')) return list
    } catch {
      // Not JSON: a shell command that begins with [ (test).
    }
  }
  return ['/bin/sh', '-c', text]
}

/** `K=V K2="V 2"`, or Docker's old `K V`. */
function pairs(text: string, line: string): [string, string][] {
  const found = [...text.matchAll(/([^\s=]+)=("(?:[^"\\]|\\.)*"|'[^']*'|\S*)/g)].map(
    m => [m[1] as string, unquote(m[2] as string)] as [string, string],
  )
  if (found.length > 0 && /^[^\s=]+=/.test(text)) return found
  const m = /^(\S+)\s+(.+)$/s.exec(text)
  if (m === null) throw new ImageError('UNSUPPORTED', `change ${line}: expected KEY=VALUE`)
  return [[m[1] as string, m[2] as string]]
}

function unquote(text: string): string {
  if (text.startsWith('"')) return text.slice(1, -1).replace(/\\(.)/g, '$1')
  return text.startsWith("'") ? text.slice(1, -1) : text
}
