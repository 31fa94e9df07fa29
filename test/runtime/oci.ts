/** What must hold for containers of `--runtime`, whichever OCI runtime that is. */
import { spawnSync } from 'node:child_process'
import { chmodSync, existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Test } from 'tap'
import { Lamina, unable, until } from './lamina.js'

/** The life of containers that the OCI runtime `name` runs. */
export function suite(t: Test, name: string): void {
  const missing = spawnSync(name, ['--version']).status !== 0 && `${name} is not installed`
  t.test(`containers run by ${name}`, { skip: unable() || missing, timeout: 170_000 }, async t => {
    const lamina = new Lamina()
    t.teardown(() => lamina.close())
    // crun takes no host with both versions of cgroups: in the mount namespace that it gets, the second one is taken away.
    const runtime = join(lamina.scratch, name)
    writeFileSync(
      runtime,
      `#!/bin/sh\nwhile umount /sys/fs/cgroup/unified 2>/dev/null; do :; done\nexec ${name} "$@"\n`,
    )
    chmodSync(runtime, 0o755)
    const run = (...words: string[]) => lamina.do(['run', '--rm', '--runtime', runtime, ...words])

    t.match(run('-i', '--rootfs', '/', '--', 'sh', '-c', 'cat; echo err >&2; exit 5'), {
      code: 5,
      stdout: '',
      stderr: 'err\n',
    })
    t.match(run('--rootfs', '/', '--', 'no-such-command'), { code: 127, stderr: /^lamina: .*not found/ })
    t.match(run('--rootfs', '/', '--', '/etc/passwd'), { code: 126, stderr: /^lamina: .*ermission denied/ })

    const loop = 'trap "echo got; exit 7" TERM; echo out; echo err >&2; while :; do sleep 0.05; done'
    const options = ['--memory', '64m', '--ulimit', 'core=-1:-1', '--health-cmd', 'true', '--health-interval', '100ms']
    const command = ['--runtime', runtime, ...options, '--rootfs', '/', '--', 'sh', '-c', loop]
    const id = lamina.out('run', '-d', '--name', 'q', ...command)
    const bundle = join(lamina.root, 'containers', id, 'config.json')
    t.match(readFileSync(bundle, 'utf8'), /"hard": 18446744073709551615/, 'no limit, in the form of the specification')
    t.match(JSON.parse(readFileSync(bundle, 'utf8')), { linux: { seccomp: { architectures: /SCMP_ARCH/ } } })
    const known = (): string =>
      spawnSync(name, ['--root', join(lamina.run, 'c', id.slice(0, 12), 'oci'), 'list', '-q'], { encoding: 'utf8' })
        .stdout
    t.equal(known(), `${id}\n`, 'the runtime has it')
    t.match(lamina.do(['exec', 'q', 'sh', '-c', 'grep -E "^(CapEff|Seccomp):" /proc/self/status; exit 4']), {
      code: 4,
      stdout: 'CapEff:\t00000000a80425fb\nSeccomp:\t2\n',
    })
    t.match(lamina.do(['exec', 'q', 'no-such-command']), { code: 127, stderr: /not found/ })
    const line = `exec ${process.execPath} dist/bin/lamina.js exec -it q sh -c 'tty; exit 6'`
    const terminal = spawnSync('script', ['-qec', line, '/dev/null'], { env: lamina.env, encoding: 'utf8' })
    t.match(terminal, { status: 6, stdout: /\/dev\/pts\/\d+\r\n/ }, 'exec with a terminal of the runtime’s making')
    t.ok(await until(() => lamina.out('inspect', '-f', '{{.State.Health.Status}}', 'q') === 'healthy', 60))
    lamina.out('stop', 'q')
    t.equal(lamina.out('inspect', '-f', '{{.State.ExitCode}}', 'q'), '7', 'its own answer to TERM')
    t.match(lamina.do(['logs', 'q']), { stdout: 'out\ngot\n', stderr: 'err\n' })
    t.equal(known(), '', 'the runtime has forgotten it')

    lamina.out('start', 'q')
    lamina.out('kill', 'q')
    t.equal(lamina.out('wait', 'q'), '137')
    lamina.out('start', 'q')
    const state = join(lamina.root, 'containers', id, 'state.json')
    const { supervisor, pid, cgroup } = JSON.parse(readFileSync(state, 'utf8')) as Record<string, number>
    process.kill(supervisor as number, 'SIGKILL')
    t.ok(await until(() => lamina.out('inspect', '-f', '{{.State.Status}}', 'q') === 'exited'))
    t.notOk(existsSync(`/proc/${pid}/exe`), 'the process of a killed supervisor is ended by the next command')
    t.equal(spawnSync('find', ['/sys/fs/cgroup', '-path', `*${cgroup}`], { encoding: 'utf8' }).stdout, '')
    lamina.out('rm', 'q')

    const interactive = `exec ${process.execPath} dist/bin/lamina.js run --rm -it --runtime ${runtime} --rootfs / -- sh -c 'tty; exit 8'`
    const own = spawnSync('script', ['-qec', interactive, '/dev/null'], { env: lamina.env, encoding: 'utf8' })
    t.match(own, { status: 8, stdout: /\/dev\/pts\/\d+\r\n/ })
    t.notMatch(readFileSync('/proc/self/mountinfo', 'latin1'), new RegExp(lamina.root), 'the host shows no root of it')
  })
}
