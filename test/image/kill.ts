/** Kills commands of a store with SIGKILL at random moments, and looks at what is left. Used short in npm test, long by test:long. */
import { spawn } from 'node:child_process'
import { createServer } from 'node:http'
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { createHash } from 'node:crypto'
import type { Test } from 'tap'
import { fsck } from '../../lib/image/fsck.js'
import { listImages } from '../../lib/image/images.js'
import { Store } from '../../lib/image/store.js'
import type { RawEntry } from '../layer/raw-tar.js'
import { type MadeImage, makeImage, ociArchive } from './made.js'

const lamina = new URL('../../bin/lamina.js', import.meta.url).pathname

/** Content that gzip cannot shrink, different by seed. */
function noise(seed: string, kilobytes: number): Buffer {
  return Buffer.concat(
    Array.from({ length: kilobytes * 16 }, (_, i) => createHash('sha512').update(`${seed} ${i}`).digest()),
  )
}

function layer(seed: string): RawEntry[] {
  const entries: RawEntry[] = Array.from({ length: 150 }, (_, i) => ({ name: `${seed}/f${i}`, data: `${seed} ${i}` }))
  return [...entries, { name: `${seed}/large`, data: noise(seed, 1500) }]
}

/**
 * `rounds` times: one of load, pull, commit, import, tag, rmi, prune is started and killed after a random part of the time it takes. Each
 * time fsck must find nothing wrong, and the same command must then end well.
 */
export async function killAtRandom(t: Test, rounds: number, random: () => number): Promise<void> {
  const scratch = mkdtempSync(join(tmpdir(), 'lamina-kill-'))
  t.teardown(() => rmSync(scratch, { recursive: true, force: true }))
  const env = { ...process.env, LAMINA_ROOT: join(scratch, 'store'), LAMINA_RUN: join(scratch, 'run') }
  mkdirSync(join(scratch, 'run'))
  const store = Store.open(env.LAMINA_ROOT)
  const archives = ['one', 'two'].map(name => {
    const file = join(scratch, `${name}.tar`)
    writeFileSync(file, ociArchive(makeImage([layer('shared'), layer(name)]), `kill/${name}:1`))
    return file
  })
  const rootfs = join(scratch, 'rootfs.tar')
  writeFileSync(rootfs, makeImage([layer('rootfs')]).layers[0]?.tar as Buffer)

  /** Runs a command; with `killAfter` ms it is killed then. Its exit code, or undefined when it was killed. */
  const command = (args: string[], killAfter?: number): Promise<number | undefined> =>
    new Promise(resolve => {
      const child = spawn(process.execPath, [lamina, ...args], { env, stdio: 'ignore' })
      const timer = killAfter === undefined ? undefined : setTimeout(() => child.kill('SIGKILL'), killAfter)
      child.once('exit', code => {
        clearTimeout(timer)
        resolve(code ?? undefined)
      })
    })
  const image = makeImage([layer('shared'), layer('pulled')])
  const server = createServer((req, res) => {
    const name = /(?:manifests|blobs)\/(.+)$/.exec(req.url ?? '')?.[1]
    const bytes = name === '1' ? image.manifest : image.blobs.get(name as MadeImage['digest'])
    if (req.url === '/v2/') res.end('{}')
    else if (bytes === undefined) res.writeHead(404).end()
    else res.writeHead(200, { 'content-length': bytes.length }).end(bytes)
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', () => resolve()))
  t.teardown(() => void server.close())
  const host = `127.0.0.1:${(server.address() as { port: number }).port}`
  const commands: string[][] = [
    ['load', '-q', '-i', archives[0] as string],
    ['pull', '-q', `${host}/kill:1`],
    ['commit', 'kept', 'kill/committed:1'],
    ['load', '-q', '-i', archives[1] as string],
    ['import', rootfs, 'kill/rootfs:1'],
    ['tag', 'kill/one:1', 'kill/other:1'],
    ['rmi', 'kill/two:1'],
    ['prune', '-f', '-a'],
  ]
  // A container with something to commit. Its image stays, whatever is pruned.
  t.equal(await command(['load', '-q', '-i', archives[0] as string]), 0, 'load')
  t.equal(await command(['create', '--name', 'kept', 'kill/one:1', '/bin/true']), 0, 'create')
  const id = readdirSync(join(store.root, 'containers')).find(name => name.length === 64)
  for (let i = 0; i < 100; i++)
    writeFileSync(join(store.root, 'containers', id as string, 'upper', `f${i}`), noise(`c${i}`, 10))
  // How long each takes when it is left alone.
  const times: number[] = []
  for (const [i, args] of commands.entries()) {
    const start = performance.now()
    t.equal(await command(args), 0, args.slice(0, 1).join(' '))
    times[i] = performance.now() - start
  }
  t.same(
    listImages(store)
      .map(i => i.names.length > 0)
      .filter(Boolean).length,
    1,
    'only the container’s image is left',
  )
  let killed = 0
  for (let round = 0; round < rounds; round++) {
    const i = round % commands.length
    const args = commands[i] as string[]
    if ((await command(args, Math.max(20, random() * (times[i] as number)))) === undefined) killed++
    const { problems } = await fsck(store)
    if (problems.length > 0) t.same(problems, [], `after ${args[0]} in round ${round}`)
    // Again, to its end, which also tells how long it takes by now. rmi may find that it is done already.
    const start = performance.now()
    const code = await command(args)
    times[i] = Math.min(times[i] as number, performance.now() - start)
    if (code !== 0 && args[0] !== 'rmi') t.equal(code, 0, `${args[0]} again in round ${round}`)
    await sleep(0)
  }
  t.same((await fsck(Store.open(store.root))).problems, [])
  t.comment(`${killed} of ${rounds} were killed before their end`)
  // Before Node has started nothing has ended: one kill there shows that killing works, whatever the machine is doing.
  t.equal(await command(['prune', '-f'], 1), undefined)
  t.same((await fsck(Store.open(store.root))).problems, [])
}
