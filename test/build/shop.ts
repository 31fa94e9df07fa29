/** `lamina` in process on a store of its own: what a user of `lamina build` sees. */
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import type { Test } from 'tap'
import { main } from '../../lib/cli/main.js'

export interface Answer {
  readonly code: number
  readonly out: string
  /** Standard output as it came. */
  readonly raw: Buffer
  readonly err: string
}

export interface Shop {
  readonly dir: string
  lamina(args: readonly string[], stdin?: Buffer | string): Promise<Answer>
}

/** A store of its own below a directory with `files`; `lamina` runs a command in this process. */
export function shop(t: Test, files: NonNullable<Parameters<Test['testdir']>[0]>): Shop {
  const dir = t.testdir(files)
  return {
    dir,
    lamina: async (args, stdin = '') => {
      const raw: Buffer[] = []
      let err = ''
      const code = await main(['--root', join(dir, 'store'), ...args], {
        stdin: Readable.from([Buffer.from(stdin)]) as unknown as NodeJS.ReadStream,
        stdout: { write: chunk => (raw.push(Buffer.from(chunk as Uint8Array)), true) },
        stderr: { write: chunk => ((err += String(chunk)), true) },
      })
      const all = Buffer.concat(raw)
      return { code, out: all.toString('utf8'), raw: all, err }
    },
  }
}

/** Files of a built image by `-o type=local`. */
export async function files(s: Shop, args: readonly string[], stdin?: Buffer | string): Promise<string[]> {
  const to = join(s.dir, `out-${Math.random().toString(36).slice(2)}`)
  const { code, err } = await s.lamina(['build', '-q', '-o', to, ...args], stdin)
  if (code !== 0) throw new Error(err)
  return readdirSync(to, { recursive: true }).map(String).sort()
}
