/** What is wrong with a command is said in one line, with the right code, and nothing is left. */
import t from 'tap'
import { createServer, type AddressInfo } from 'node:net'
import { chmodSync, existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Lamina, unable } from './lamina.js'

t.setTimeout(900_000)

t.test('bad input', { skip: unable(), timeout: 900_000 }, async t => {
  const lamina = new Lamina()
  const server = createServer().listen(0, '127.0.0.1')
  await new Promise(resolve => server.on('listening', resolve))
  t.teardown(() => {
    server.close()
    lamina.close()
  })
  const { port } = server.address() as AddressInfo
  const tree = join(lamina.scratch, 'tree')
  mkdirSync(join(tree, 'etc'), { recursive: true })
  writeFileSync(join(tree, 'etc/passwd'), 'root:x:0:0:root:/root:/bin/sh\n')
  writeFileSync(join(tree, 'no-format'), 'nothing that runs')
  writeFileSync(join(tree, 'not-executable'), '#!/bin/sh\n')
  chmodSync(join(tree, 'no-format'), 0o755)
  chmodSync(join(tree, 'not-executable'), 0o644)
  mkdirSync(join(tree, 'directory'))
  lamina.out('create', '--name', 'here', '--rootfs', tree, '--', 'x')

  const rootfs = ['--rootfs', tree, '--']
  const cases: [what: string, args: string[], code: number, says: RegExp][] = [
    ['unknown image', ['--pull', 'never', 'no/such:image'], 125, /no\/such:image/],
    ['an image that is no name', ['no/UPPER'], 125, /no\/UPPER/],
    ['command not found', [...rootfs, 'no-such'], 127, /no-such: command not found/],
    ['command not found, by path', [...rootfs, '/no/such'], 127, /\/no\/such: command not found/],
    ['not executable', [...rootfs, '/not-executable'], 126, /permission denied/],
    ['a directory as command', [...rootfs, '/directory'], 126, /permission denied/],
    ['no known format, and no shell', [...rootfs, '/no-format'], 126, /exec format error/],
    ['no command at all', ['--rootfs', tree], 125, /no command/],
    ['port taken', ['--network', 'bridge', '-p', `127.0.0.1:${port}:80`, ...rootfs, 'x'], 125, /already taken/],
    ['port that is none', ['-p', '70000:80', ...rootfs, 'x'], 125, /1 to 65535/],
    ['name taken', ['--name', 'here', ...rootfs, 'x'], 125, /name here: in use/],
    ['name that is none', ['--name', '../x', ...rootfs, 'x'], 125, /\.\.\/x/],
    ['a limit that is none', ['--memory', 'lots', ...rootfs, 'x'], 125, /--memory lots: is no size/],
    ['a limit too small', ['--memory', '1m', ...rootfs, 'x'], 125, /--memory 1m: at least 6m/],
    ['more CPUs than there are', ['--cpus', '4096', ...rootfs, 'x'], 125, /--cpus 4096/],
    ['CPUs that are not there', ['--cpuset-cpus', '4000', ...rootfs, 'x'], 125, /--cpuset-cpus/],
    [
      'a limit the kernel lacks or a number that is none',
      ['--blkio-weight', '5', ...rootfs, 'x'],
      125,
      /--blkio-weight/,
    ],
    [
      'missing volume source',
      ['--mount', 'type=bind,source=/no/such,target=/x', ...rootfs, 'x'],
      125,
      /does not exist/,
    ],
    [
      'a volume name with a way in it',
      ['--mount', 'type=volume,source=../../x,target=/x', ...rootfs, 'x'],
      125,
      /\.\.\/\.\.\/x/,
    ],
    ['a target that leads out', ['-v', '/tmp:/a/../../x', ...rootfs, 'x'], 125, /'\.\.'/],
    ['the root as target', ['-v', '/tmp:/', ...rootfs, 'x'], 125, /mount at \//],
    ['a target given twice', ['-v', '/tmp:/x', '--tmpfs', '/x', ...rootfs, 'x'], 125, /twice/],
    ['invalid user', ['-u', 'nobody-here', ...rootfs, 'x'], 125, /no user 'nobody-here'/],
    ['invalid group', ['-u', 'root:nobody-here', ...rootfs, 'x'], 125, /group nobody-here/],
    ['a user id too large', ['-u', '4294967295', ...rootfs, 'x'], 125, /4294967295/],
    ['unknown capability', ['--cap-add', 'FLY', ...rootfs, 'x'], 125, /FLY/],
    ['unknown option', ['--no-such-option', ...rootfs, 'x'], 125, /no-such-option/],
    ['unknown network', ['--network', 'nowhere', ...rootfs, 'x'], 125, /no such network: nowhere/],
    ['a container to share with that is not there', ['--pid', 'container:ghost', ...rootfs, 'x'], 125, /ghost/],
    ['unknown runtime', ['--runtime', '/no/runtime', ...rootfs, 'x'], 125, /\/no\/runtime/],
    ['a device that is not there', ['--device', '/dev/no-such', ...rootfs, 'x'], 125, /\/dev\/no-such/],
    ['a signal that is none', ['--stop-signal', 'SIGNO', ...rootfs, 'x'], 125, /SIGNO/],
    ['an env file that is not there', ['--env-file', '/no/file', ...rootfs, 'x'], 125, /\/no\/file/],
    ['a sysctl that is not there', ['--sysctl', 'net.no.such=1', ...rootfs, 'x'], 125, /net\/no\/such/],
    ['a seccomp profile that is not there', ['--security-opt', 'seccomp=/no/file', ...rootfs, 'x'], 125, /\/no\/file/],
    ['a working directory that is none', ['-w', 'relative', ...rootfs, 'x'], 125, /relative/],
  ]
  for (const [what, args, code, says] of cases) {
    const r = lamina.do(['run', '--rm', ...args])
    t.equal(r.code, code, `${what}: ${r.stderr}`)
    t.match(r.stderr, says, what)
    t.match(r.stderr, /^lamina: [^\n]*\n$/, `${what}: one line`)
    t.equal(r.stdout, '', what)
  }
  const cid = join(lamina.scratch, 'cid')
  t.equal(lamina.do(['create', '--cidfile', cid, '--name', 'here', ...rootfs, 'x']).code, 125)
  t.notOk(existsSync(cid), 'no cidfile where none was made')
  const id = lamina.out('create', '--cidfile', cid, ...rootfs, 'x')
  t.equal(readFileSync(cid, 'utf8'), id)
  t.match(lamina.do(['create', '--cidfile', cid, ...rootfs, 'x']), { code: 125, stderr: /--cidfile .*: EEXIST/ })
  lamina.out('rm', id)
  t.equal(lamina.out('ps', '-a', '--format', '{{.Names}}'), 'here', 'none of them left a container')
  t.same(readdirSync(join(lamina.root, 'containers')).filter(f => f.length === 64).length, 1)
  t.notOk(existsSync(join(lamina.root, 'volumes', '..', 'x')))

  const verbs: [string[], number, RegExp][] = [
    [['start', 'ghost'], 125, /no such container: ghost/],
    [['stop', 'ghost'], 1, /no such container: ghost/],
    [['exec', 'here', 'true'], 125, /not running/],
    [['kill', 'here'], 1, /not running/],
    [['pause', 'here'], 1, /it is created/],
    [['attach', 'here'], 125, /not running/],
    [['top', 'here'], 1, /not running/],
    [['rename', 'here', 'a b'], 1, /a b/],
    [['update', 'here'], 2, /nothing to change/],
    [['logs', '--tail', 'x', 'here'], 2, /--tail x/],
    [['volume', 'rm', '..'], 1, /\.\./],
    [['volume', 'inspect', 'ghost'], 1, /no such volume: ghost/],
    [['network', 'rm', 'ghost'], 1, /no such network: ghost/],
    [['network', 'create', '--subnet', '10.0.0.0/99', 'n'], 1, /--subnet/],
  ]
  for (const [args, code, says] of verbs) {
    const r = lamina.do(args)
    t.equal(r.code, code, `${args.join(' ')}: ${r.stderr}`)
    t.match(r.stderr, says)
    t.match(r.stderr, /^lamina[^\n]*\n$/, `${args.join(' ')}: one line`)
  }
})
