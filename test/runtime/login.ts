/**
 * A plain login with subordinate ids, network and all, that changes nothing of the machine: namespaces of the test's own in
 * which /dev/fuse and /dev/net/tun are open, and /etc/subuid names the user.
 */
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import type { Test } from 'tap'
import { Lamina } from './lamina.js'
import { cable, makeNamespace, type Namespace } from './namespace.js'

const NOBODY = 65534

/** Why there can be no such login here; false when there can. */
export function unableToLogin(): string | false {
  if (spawnSync('id', ['-un', String(NOBODY)], { encoding: 'utf8' }).stdout.trim() !== 'nobody') return 'no user nobody'
  const lacks = ['setpriv', 'unshare', 'nsenter', 'ip'].find(p => spawnSync(p, ['--version']).error !== undefined)
  return lacks === undefined ? false : `${lacks} is not installed`
}

interface Login {
  /** Words to put before a command that the user is to run. */
  readonly prefix: readonly string[]
  /** Where he is, as root. */
  readonly place: Namespace
  /** Another machine: 10.77.0.2, by which all ways lead. */
  readonly outside: Namespace
  close(): void
}

/** `ids`: with subordinate ids. `tun`: with /dev/net/tun open to him. */
export async function login({ ids, tun }: { ids: boolean; tun: boolean }): Promise<Login> {
  const [place, outside] = [await makeNamespace(), await makeNamespace()]
  cable(place, outside)
  place.sh('ip route add default via 10.77.0.2')
  const script = [
    'set -e; mount -t tmpfs -o mode=755 login /mnt',
    'mknod -m 666 /mnt/fuse c 10 229; mount --bind /mnt/fuse /dev/fuse',
    `mknod -m ${tun ? '666' : '600'} /mnt/tun c 10 200; mount --bind /mnt/tun /dev/net/tun`,
    `echo '${ids ? 'nobody' : 'nobody-else'}:200000:65536' > /mnt/ids`,
    'for f in /etc/subuid /etc/subgid; do test -e $f || touch $f; mount --bind /mnt/ids $f; done',
    'echo nameserver 127.0.0.1 > /mnt/resolv; mount --bind /mnt/resolv /etc/resolv.conf',
    'echo up; exec sleep infinity',
  ]
  const [program, ...words] = [...place.prefix, 'unshare', '-m', 'sh', '-c', script.join('\n')]
  const keeper = spawn(program, words, { stdio: ['ignore', 'pipe', 'inherit'] })
  const [first] = (await Promise.race([once(keeper.stdout, 'data'), once(keeper, 'close')])) as unknown[]
  if (String(first) !== 'up\n') throw new Error('no login')
  const user = ['setpriv', `--reuid=${NOBODY}`, `--regid=${NOBODY}`, '--clear-groups', '--inh-caps=-all', '--']
  return {
    prefix: ['nsenter', '-t', String(keeper.pid), '-m', '-n', '--', ...user],
    place,
    outside,
    close: () => {
      keeper.kill('SIGKILL')
      place.close()
      outside.close()
    },
  }
}

/** A login for one test, and Lamina as its user has it. */
export async function loggedIn(
  t: Test,
  options: Parameters<typeof login>[0],
): Promise<{ user: Login; lamina: Lamina }> {
  const user = await login(options)
  const lamina = new Lamina(user.prefix)
  t.teardown(() => {
    lamina.close()
    user.close()
  })
  lamina.giveTo(NOBODY)
  return { user, lamina }
}
