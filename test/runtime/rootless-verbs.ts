/** Every verb as an ordinary user has it, with subordinate ids and with his one id. No cgroup is delegated to him here. */
import t from 'tap'
import { execFileSync } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { makeTinyBase } from '../build/tiny-base.js'
import { overlayDriver } from '../mount/overlay-driver.js'
import { unable, until } from './lamina.js'
import { loggedIn, unableToLogin } from './login.js'

const skip = unable() || unableToLogin() || (existsSync('/usr/bin/newuidmap') ? false : 'newuidmap is not installed')

/** Every verb, once for each way to be an ordinary user with each driver. */
export function rootlessVerbs(cases: readonly { ids: boolean; driver: 'fuse' | 'overlay' }[]): void {
  t.setTimeout(900_000)
  for (const { ids, driver } of cases)
    t.test(
      `with ${ids ? 'subordinate ids' : 'one id'}, driver ${driver}`,
      { skip: skip || (driver === 'overlay' && overlayDriver) },
      async t => {
        const { lamina } = await loggedIn(t, { ids, tun: false })
        lamina.env['LAMINA_DRIVER'] = driver
        const shared = join(lamina.scratch, 'shared')
        mkdirSync(shared)
        chmodSync(shared, 0o777)
        const [base, tar] = [join(lamina.scratch, 'base'), join(shared, 'base.tar')]
        makeTinyBase(base)
        execFileSync('tar', ['-C', base, '-cf', tar, '.'])
        chmodSync(tar, 0o644)
        lamina.out('import', tar, 'tiny')

        const loop =
          'mkdir -m 700 /kept; (exec > /held; echo held; exec sleep 1000) & echo mine > /kept/file; echo up; trap "exit 7" TERM; while :; do sleep 0.1; done'
        const user = ids ? ['-u', '1234'] : []
        lamina.out('run', '-d', '--name', 'a', '--network', 'none', '--tmpfs', '/t', 'tiny', 'sh', '-c', loop)
        t.ok(await until(() => lamina.do(['logs', 'a']).stdout === 'up\n'))
        t.equal(lamina.out('exec', ...user, 'a', 'id', '-u'), ids ? '1234' : '0')
        if (ids) lamina.out('exec', 'a', 'chown', '-R', '1234', '/kept')

        await t.test('files in and out', async t => {
          writeFileSync(join(shared, 'in'), 'from the host')
          lamina.out('cp', join(shared, 'in'), 'a:/kept/in')
          t.equal(lamina.out('exec', 'a', 'cat', '/kept/in'), 'from the host')
          t.equal(
            lamina.out('cat', 'a:/kept/file'),
            'mine',
            'also one of another id, in a directory that only he may read',
          )
          lamina.out('cp', 'a:/kept/file', join(shared, 'out'))
          t.equal(readFileSync(join(shared, 'out'), 'utf8'), 'mine\n')
          t.match(lamina.out('diff', 'a'), /^A \/kept\nA \/kept\/file\nA \/kept\/in$/m)
          t.match(lamina.out('layers', 'a'), /1 +0 +0/)
          lamina.out('export', '-o', join(shared, 'all.tar'), 'a')
          t.match(
            execFileSync('tar', ['tvf', join(shared, 'all.tar')], { encoding: 'utf8' }),
            ids ? /1234\/0 .*kept\/file/ : /0\/0 .*kept\/file/,
          )
          lamina.out('commit', 'a', 'mine:1')
          t.equal(lamina.out('run', '--rm', '--network', 'none', ...user, 'mine:1', 'cat', '/kept/file'), 'mine')
          t.equal(
            lamina.out('run', '--rm', '--network', 'none', 'mine:1', 'cat', '/held'),
            'held',
            'what is still open',
          )
          t.match(lamina.out('ps', '--format', '{{.Size}}'), /^[1-9]\d*B \(virtual [\d.]+[kM]B\)$/)
        })

        await t.test('processes', async t => {
          t.match(lamina.out('top', 'a'), /sh -c mkdir/)
          const [stats] = JSON.parse(lamina.out('stats', '--no-stream', '--json', 'a')) as [
            { PIDs: string; MemUsage: string },
          ]
          t.ok(Number(stats.PIDs) >= 1 && !stats.MemUsage.startsWith('0B'), JSON.stringify(stats))
          t.match(lamina.do(['pause', 'a']), {
            code: 3,
            stderr: 'lamina: pause: no freezer cgroup was delegated to this user\n',
          })
          t.match(lamina.do(['update', '--memory', '64m', 'a']), {
            code: 3,
            stderr: 'lamina: --memory: no memory cgroup was delegated to this user\n',
          })
        })

        await t.test('a volume with files of another id, in a directory that only he may read', t => {
          const fill = ids ? 'mkdir -m 700 /v/d; echo 1 > /v/d/f; chown -R 1234 /v/d' : 'mkdir -m 0 /v/d'
          lamina.out('run', '--rm', '--network', 'none', '-v', 'filled:/v', 'tiny', 'sh', '-c', fill)
          t.equal(lamina.out('volume', 'rm', 'filled'), 'filled')
          t.equal(lamina.out('volume', 'ls', '-q'), '')
          t.equal(existsSync(join(lamina.root, 'volumes', 'filled')), false)
          t.match(lamina.do(['volume', 'rm', 'filled']), { code: 1, stderr: /no such volume: filled/ })
          t.end()
        })

        await t.test('life', async t => {
          lamina.out('rename', 'a', 'b')
          lamina.out('restart', 'b')
          t.ok(await until(() => lamina.do(['logs', 'b']).stdout.endsWith('up\nup\n')))
          lamina.out('stop', 'b')
          t.equal(lamina.out('inspect', '-f', '{{.State.Status}} {{.State.ExitCode}}', 'b'), 'exited 7')
          lamina.out('cp', join(shared, 'in'), 'b:/kept/again')
          t.equal(lamina.out('cat', 'b:/kept/again'), 'from the host', 'into one that does not run')
          lamina.out('start', 'b')
          t.equal(lamina.out('kill', 'b'), 'b')
          t.equal(lamina.out('wait', 'b'), '137')
          lamina.out('rm', 'b')
          t.equal(lamina.out('ps', '-aq'), '')
        })

        await t.test('build', async t => {
          const file =
            'FROM tiny\nWORKDIR /w\nRUN --network=none echo built > made && id -u >> made\nCMD ["cat", "made"]\n'
          const built = lamina.do(['build', '-q', '-t', 'built', '-'], file)
          t.equal(built.code, 0, built.stderr)
          t.equal(lamina.out('run', '--rm', '--network', 'none', 'built'), 'built\n0')
          const failed = lamina.do(['build', '-q', '-'], 'FROM tiny\nRUN --network=none exit 3\n')
          t.match(failed, { code: 1, stderr: /exit code:? 3/ })
        })
        t.match(lamina.out('fsck'), /nothing wrong/)
      },
    )
}
