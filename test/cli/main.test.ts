import t from 'tap'
import { aliases, groups, verbOf, verbs } from '../../lib/cli/commands.js'
import { failureLine } from '../../lib/cli/failure.js'
import { exitCodeFor } from '../../lib/cli/exit-codes.js'
import { positionalSpecs } from '../../lib/cli/parse.js'
import { FsError, E } from '../../lib/errno.js'
import { lamina } from './lamina.js'

t.test('the overview lists every verb and loads none', async t => {
  const { code, stdout, stderr } = await lamina('--help')
  t.equal(code, 0)
  t.equal(stderr, '')
  for (const [name, verb] of verbs) t.match(stdout, `  ${name} `, `${name}: ${verb.describe}`)
})

t.test('no verb at all is wrong usage', async t => {
  const { code, stdout, stderr } = await lamina()
  t.equal(code, 2)
  t.equal(stdout, '')
  t.match(stderr, /^Usage: lamina/)
})

t.test('every verb has its page, and the table and the file agree', async t => {
  for (const [name, verb] of verbs) {
    const { command } = await verb.load()
    t.ok(command.command === name || command.command.startsWith(`${name} `), name)
    const { code, stdout } = await lamina(...name.split(' '), '--help')
    t.equal(code, 0, name)
    t.match(stdout, `Usage: lamina ${name}`)
    for (const option of Object.keys(command.builder))
      if (command.builder[option]?.hidden !== true) t.match(stdout, `--${option}`, `${name} --${option}`)
    for (const [line] of command.examples ?? []) t.match(line, new RegExp(`^${name}( |$)`), `example: ${line}`)
    const specs = positionalSpecs(command.command)
    t.ok(specs.filter(s => s.rest).length <= 1, `${name}: at most one repeated positional`)
  }
})

t.test('a verb stands in one group', async t => {
  t.equal(Object.values(groups).flatMap(g => Object.keys(g)).length, verbs.size)
})

t.test("Docker's longer forms are other words for verbs", async t => {
  for (const said of aliases.keys()) {
    t.notOk(verbs.has(said), `${said} is no verb of its own`)
    const found = verbOf(said.split(' '))
    t.ok(found !== undefined && verbs.has(found.name), said)
    const { code, stdout } = await lamina(...said.split(' '), '--help')
    t.match({ code, stdout }, { code: 0, stdout: `Usage: lamina ${found?.name}` }, said)
  }
  for (const [said, name] of [
    ['container ls', 'ps'],
    ['container list', 'ps'],
    ['container ps', 'ps'],
    ['container run', 'run'],
    ['container remove', 'rm'],
    ['container prune', 'container prune'],
    ['image ls', 'images'],
    ['image list', 'images'],
    ['image rm', 'rmi'],
    ['image remove', 'rmi'],
    ['image build', 'build'],
    ['network list', 'network ls'],
    ['volume remove', 'volume rm'],
    ['system df', 'df'],
    ['system events', 'events'],
    ['builder build', 'build'],
  ] as const)
    t.strictSame(verbOf([...said.split(' '), '-x', 'y']), { name, args: ['-x', 'y'] }, said)
  t.strictSame(verbOf(['image', 'inspect', 'x']), { name: 'inspect', args: ['--type=image', 'x'] })
  t.strictSame(verbOf(['container', 'inspect', 'x']), { name: 'inspect', args: ['--type=container', 'x'] })
  for (const words of [[], ['container'], ['container', 'nonsense'], ['ls', 'container']])
    t.equal(verbOf(words)?.name, words[0] === 'ls' ? 'ls' : undefined, words.join(' '))
})

t.test('a group alone shows what there is, and the overview has one line for the longer forms', async t => {
  const { code, stdout, stderr } = await lamina('container')
  t.match({ code, stdout }, { code: 2, stdout: '' })
  t.match(stderr, /^Usage: lamina .* container \.\.\.\n/)
  t.match(stderr, /^ {2}container prune +Remove containers/m)
  t.match(stderr, /^ {2}container ls +lamina ps$/m)
  t.notMatch(stderr, /image|network/, 'nothing of other groups')
  t.match(await lamina('image', '--help'), { code: 0, stdout: /image rm +lamina rmi/, stderr: '' })
  const overview = (await lamina('--help')).stdout
  t.equal(overview.match(/container ls/g)?.length, 1)
  t.notMatch(overview, /container list|image ls/)
  t.match(await lamina('container', 'lss'), {
    code: 2,
    stderr: "lamina: unknown command 'container lss'; did you mean 'container ls'? (see 'lamina --help')\n",
  })
})

t.test('wrong usage is one line and exit code 2', async t => {
  for (const [argv, line] of [
    [['versoin'], "lamina: unknown command 'versoin'; did you mean 'version'? (see 'lamina --help')"],
    [['--rot', 'x'], "lamina: unknown option '--rot' (see 'lamina --help')"],
    [['--root'], "lamina: option --root needs a value (see 'lamina --help')"],
    [
      ['version', '--jso'],
      "lamina: version: unknown option '--jso'; did you mean '--json'? (see 'lamina version --help')",
    ],
    [['version', 'x'], "lamina: version: unexpected argument 'x' (see 'lamina version --help')"],
    [['ver\u001b[2Jsion'], "lamina: unknown command 'ver\\x1b[2Jsion' (see 'lamina --help')"],
  ] as const)
    t.strictSame(await lamina(...argv), { code: 2, stdout: '', stderr: `${line}\n` }, argv.join(' '))
})

t.test('the version is printed for people and programs', async t => {
  t.match(await lamina('--version'), { code: 0, stdout: /^lamina \d+\.\d+\.\d+\n$/ })
  const { stdout } = await lamina('version', '--json')
  t.match(JSON.parse(stdout), { lamina: /^\d/, node: process.version })
})

t.test('a failure is one line: verb, path, cause', async t => {
  const coded = Object.assign(new Error('pull debian:12: no such image'), { code: 'NO_SUCH_IMAGE' })
  for (const [error, line] of [
    [new FsError(-E.ENOENT, 'openat', '/x/y'), 'lamina: mount /x/y: no such file or directory (openat)'],
    [new FsError(-E.EUCLEAN, 'mount'), 'lamina: mount: EUCLEAN (mount)'],
    [coded, 'lamina: pull debian:12: no such image'],
    [new Error('a\u001bb\nc'), /^lamina: mount: a\\x1bb\\nc \(a bug.*\)$/],
    ['text', 'lamina: mount: text'],
  ] as const)
    t.match(failureLine(error, 'mount'), line)
})

t.test('exit codes are the documented ones', async t => {
  for (const [code, runsProcess, exit] of [
    [undefined, false, 1],
    ['ENOENT', false, 1],
    ['USAGE', false, 2],
    ['UNSUPPORTED', false, 3],
    ['NOT_PERMITTED', false, 3],
    [undefined, true, 125],
    ['USAGE', true, 125],
    ['COMMAND_NOT_FOUND', true, 127],
    ['COMMAND_NOT_EXECUTABLE', true, 126],
  ] as const)
    t.equal(exitCodeFor(code, runsProcess), exit, `${code} ${runsProcess}`)
})
