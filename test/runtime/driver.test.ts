/** Containers and build steps whose layers the kernel's overlayfs joins: the same life, and the same images. */
import t, { type Test } from 'tap'
import { execFileSync } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { makeTinyBase } from '../build/tiny-base.js'
import { overlayDriver } from '../mount/overlay-driver.js'
import { Lamina, unable } from './lamina.js'
import { loggedIn, unableToLogin } from './login.js'

t.setTimeout(300_000)
const skip = unable() || overlayDriver

const changes =
  'rm /etc/group; echo more >> /etc/passwd; chmod 711 /bin/ls; rm -r /gone; mkdir /gone; touch /gone/new; ln /kept/a /kept/b; mkdir /made; mv /made /kept/made'

async function life(t: Test, lamina: Lamina): Promise<void> {
  const shared = join(lamina.scratch, 'shared')
  const [base, context] = [join(shared, 'base'), join(shared, 'context')]
  for (const directory of [shared, base, context]) mkdirSync(directory)
  chmodSync(shared, 0o777)
  makeTinyBase(base)
  execFileSync('sh', ['-ec', 'cd "$0"; mkdir gone kept; echo old > gone/old; echo a > kept/a', base])
  execFileSync('tar', ['-C', base, '-cf', join(shared, 'base.tar'), '.'])
  lamina.out('import', join(shared, 'base.tar'), 'tiny')
  writeFileSync(join(context, 'Dockerfile'), `FROM tiny\nRUN ${changes}\nRUN echo again >> /etc/passwd; rm /gone/new\n`)
  const found: Record<string, string[]> = {}
  for (const driver of ['fuse', 'overlay']) {
    const how = ['--driver', driver]
    const shell = (tag: string, script: string): string =>
      lamina.out('run', '--rm', ...how, '--network', 'none', `${driver}:${tag}`, 'sh', '-c', script)
    const mounts = lamina.out(
      'run',
      '--name',
      driver,
      ...how,
      '--network',
      'none',
      'tiny',
      'sh',
      '-c',
      `cat /proc/mounts; ${changes}`,
    )
    t.match(mounts, driver === 'fuse' ? /^lamina:\w+ \/ fuse\.lamina rw/ : /^lamina:\w+ \/ overlay rw/)
    t.equal(lamina.out('inspect', '-f', '{{.Driver}} {{.GraphDriver.Name}}', driver), `${driver} ${driver}`)
    const diff = lamina.out('diff', driver)
    writeFileSync(join(shared, 'in'), 'in')
    lamina.out('cp', join(shared, 'in'), `${driver}:/kept/in`)
    lamina.out('start', '-a', driver)
    lamina.out('commit', driver, `${driver}:committed`)
    lamina.out('build', ...how, '--no-cache', '--network', 'none', '-t', `${driver}:built`, context)
    found[driver] = [
      diff,
      lamina.out('diff', 'tiny', `${driver}:committed`),
      lamina.out('diff', 'tiny', `${driver}:built`),
      shell('committed', 'cat /kept/in /etc/passwd'),
      shell('built', 'cat /kept/a /kept/b; ls -l /bin/ls | head -c 10; ls /gone'),
    ]
    lamina.out('rm', driver)
  }
  t.same(found['overlay'], found['fuse'])
  t.match(found['overlay']?.[0], /^A \/kept\/made$/m)
}

t.test('as root', { skip }, async t => {
  const lamina = new Lamina()
  t.teardown(() => lamina.close())
  await life(t, lamina)
  lamina.env['LAMINA_DRIVER'] = 'overlay'
  t.match(
    lamina.out('run', '--rm', '--network', 'none', 'tiny', 'cat', '/proc/mounts'),
    / \/ overlay rw/,
    'by the environment',
  )
  lamina.env['LAMINA_DRIVER'] = 'aufs'
  t.match(lamina.do(['run', '--rm', 'tiny', 'true']), {
    code: 125,
    stderr: /LAMINA_DRIVER aufs: not fuse or overlay/,
  })
})

t.test(
  'as an ordinary user',
  { skip: skip || unableToLogin() || (existsSync('/usr/bin/newuidmap') ? false : 'newuidmap is not installed') },
  async t => {
    const { lamina } = await loggedIn(t, { ids: true, tun: false })
    await life(t, lamina)
  },
)
