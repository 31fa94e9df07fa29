/** A small root filesystem made of this machine's own shell and tools: enough to run commands in, without a download. */
import { execFileSync } from 'node:child_process'
import { chmodSync, copyFileSync, existsSync, mkdirSync, realpathSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'

const TOOLS = [
  'sh',
  'cat',
  'ls',
  'mkdir',
  'rm',
  'cp',
  'mv',
  'ln',
  'id',
  'chmod',
  'chown',
  'touch',
  'stat',
  'env',
  'sleep',
  'head',
  'wc',
  'dd',
  'mount',
  'grep',
  'find',
  'pwd',
  'uname',
  'hostname',
  'mknod',
  'setsid',
  'seq',
  'readlink',
  'sha256sum',
  'tr',
]

/** Fills the directory `to` (made) with the tools, the libraries they need, and /etc/passwd, /etc/group, /tmp. */
export function makeTinyBase(to: string): void {
  const wanted = new Set<string>()
  for (const tool of TOOLS) {
    const path = ['/bin', '/usr/bin', '/sbin', '/usr/sbin'].map(dir => join(dir, tool)).find(p => existsSync(p))
    if (path === undefined) throw new Error(`this machine has no ${tool}`)
    const real = realpathSync(path)
    put(real, join(to, 'bin', tool))
    for (const line of execFileSync('ldd', [real], { encoding: 'utf8' }).split('\n')) {
      const library = /(\/\S+) \(0x/.exec(line)?.[1]
      if (library !== undefined) wanted.add(library)
    }
  }
  for (const library of wanted) put(realpathSync(library), join(to, library))
  for (const dir of ['etc', 'tmp', 'root', 'var/lib', 'home/app']) mkdirSync(join(to, dir), { recursive: true })
  chmodSync(join(to, 'tmp'), 0o1777)
  writeFileSync(join(to, 'etc/passwd'), 'root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000::/home/app:/bin/sh\n')
  writeFileSync(join(to, 'etc/group'), 'root:x:0:\napp:x:1000:\nextra:x:2000:app\n')
}

function put(from: string, to: string): void {
  mkdirSync(dirname(to), { recursive: true })
  copyFileSync(from, to)
  // mount(8) is setuid root on the host; not every builder keeps that.
  chmodSync(to, 0o755)
}
