import t from 'tap'
import { defineCommand } from '../../lib/cli/command.js'
import { parse } from '../../lib/cli/parse.js'

const run = defineCommand({
  command: 'run <image> [command..]',
  describe: '',
  optionsFirst: true,
  builder: {
    interactive: { alias: 'i', type: 'boolean' },
    tty: { alias: 't', type: 'boolean' },
    env: { alias: 'e', type: 'string', array: true },
    publish: { alias: 'p', type: 'string', array: true },
    name: { type: 'string' },
    memory: { alias: 'm', type: 'string' },
    cpus: { type: 'number' },
    pull: { type: 'string', choices: ['always', 'missing', 'never'], default: 'missing' },
    'no-healthcheck': { type: 'boolean' },
    rm: { type: 'boolean', conflicts: 'keep' },
    keep: { type: 'boolean' },
    verbose: { alias: 'v', type: 'count' },
  },
  handler() {},
})
const cp = defineCommand({
  command: 'cp <from..> <to>',
  describe: '',
  builder: { archive: { alias: 'a', type: 'boolean' }, level: { type: 'number', demandOption: true } },
  handler() {},
})

t.test('options are read as Docker reads them', async t => {
  const base = { pull: 'missing', image: 'img', command: [] }
  for (const [line, expected] of [
    ['img', {}],
    ['-it img', { interactive: true, tty: true }],
    ['-i -t=false img', { interactive: true, tty: false }],
    ['--tty=true --no-interactive img', { tty: true, interactive: false }],
    ['-e A=1 -eB=2 -e=C=3 --env D=4 --env=E=5 img', { env: ['A=1', 'B=2', 'C=3', 'D=4', 'E=5'] }],
    ['-p8080:80 img', { publish: ['8080:80'] }],
    ['-itm512m img', { interactive: true, tty: true, memory: '512m' }],
    ['-e -x img', { env: ['-x'] }],
    ['--cpus 1.5 img', { cpus: 1.5 }],
    ['--pull=never img', { pull: 'never' }],
    ['--no-healthcheck img', { noHealthcheck: true }],
    ['--name= img', { name: '' }],
    ['--name "q" img', { name: '"q"' }],
    ['--name a --name b img', { name: 'b' }],
    ['-vvv img', { verbose: 3 }],
    ['--rm img', { rm: true }],
  ] as const)
    t.strictSame(parse(run, line.split(' ')), { ...base, ...expected }, line)
})

t.test('with optionsFirst what follows the first positional belongs to the process', async t => {
  t.strictSame(parse(run, ['img', 'ls', '-l', '--name', 'x']), {
    pull: 'missing',
    image: 'img',
    command: ['ls', '-l', '--name', 'x'],
  })
  t.strictSame(parse(run, ['-t', '--', 'img', '-x', '--'])['command'], ['-x', '--'])
})

t.test('without it options may stand anywhere, and -- ends them', async t => {
  t.strictSame(parse(cp, ['a', '-a', 'b', '--level=1', 'c']), { archive: true, level: 1, from: ['a', 'b'], to: 'c' })
  t.strictSame(parse(cp, ['--level', '-1', '--', '-a', '--x']), { level: -1, from: ['-a'], to: '--x' })
  t.strictSame(parse(cp, ['--level', '1', '-', 'b'])['from'], ['-'], 'a lone dash is a positional')
})

t.test('wrong usage is named', async t => {
  for (const [words, message] of [
    [['--nam', 'x', 'img'], "unknown option '--nam'; did you mean '--name'?"],
    [['--nam=x', 'img'], "unknown option '--nam'; did you mean '--name'?"],
    [['-itx', 'img'], "unknown option '-x' in '-itx'"],
    [['--no-name', 'img'], "unknown option '--no-name'"],
    [['--i', 'img'], /unknown option '--i'/],
    [['--name'], 'option --name needs a value'],
    [['-m'], 'option -m needs a value'],
    [['--tty=perhaps', 'img'], "option --tty is true or false, not 'perhaps'"],
    [['--cpus', 'many', 'img'], "option --cpus needs a number, not 'many'"],
    [['--cpus=', 'img'], "option --cpus needs a number, not ''"],
    [['--pull', 'often', 'img'], "option --pull is one of always, missing, never, not 'often'"],
    [['--rm', '--keep', 'img'], 'options --rm and --keep exclude each other'],
    [['--__proto__', 'img'], /unknown option/],
    [[], 'missing argument <image>'],
  ] as const)
    t.throws(() => parse(run, words), { code: 'USAGE', message }, words.join(' '))
  t.throws(() => parse(cp, ['a', 'b']), { message: 'option --level is required' })
  t.throws(() => parse(cp, ['--level=1', 'a']), { message: 'missing argument <from>' })
  const none = defineCommand({ command: 'df', describe: '', builder: {}, handler() {} })
  t.throws(() => parse(none, ['x']), { message: "unexpected argument 'x'" })
})

t.test('--help comes before what is missing', async t => {
  t.strictSame(parse(cp, ['--help'], { help: { type: 'boolean' } }), { help: true })
})
