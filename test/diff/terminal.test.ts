import t from 'tap'
import { keysOf } from '../../lib/cli/explore/run.js'
import { fit, TerminalExplorer } from '../../lib/cli/explore/terminal.js'
import { displayWidth } from '../../lib/cli/print.js'
import { printableBytes } from '../../lib/cli/printable.js'
import { imageDataset } from '../../lib/diff/explorer/build-dataset.js'
import { dir, file, gone, MemoryLayer } from './memory-layer.js'

function explorer(colour = false): TerminalExplorer {
  const layers = [
    dir({
      etc: dir({ passwd: file('root'), motd: file('hello') }),
      usr: dir({ bin: dir({ su: file('su', { mode: 0o104755 }) }) }),
    }),
    dir({
      etc: dir({ passwd: file('root2'), motd: gone() }),
      '\x1b[2Jevil\xff': file(''),
      '\xe6\xbc\xa2\xe5\xad\x97': file(''),
    }),
    dir({ opt: dir({ app: file('app') }) }),
  ].map(item => new MemoryLayer(item, true))
  const about = ['ADD base', 'RUN change', 'COPY app /opt'].map(instruction => ({ instruction, id: 'sha256:1' }))
  const { dataset } = imageDataset({ title: 'shop:1', layers, about }, printableBytes)
  return new TerminalExplorer(dataset, [{ path: '/etc/motd', bytes: 5 }], { colour })
}

const screen = (e: TerminalExplorer, columns = 140): string => e.frame(columns, 30).join('\n')
const press = (e: TerminalExplorer, ...keys: string[]): string => {
  for (const key of keys) e.key(key)
  return screen(e)
}

t.test('shows layers, the image, and the tree of the chosen layer', async t => {
  const e = explorer()
  t.match(screen(e), /ADD base[^]*shop:1[^]*wasted/)
  t.match(screen(e), /-rwsr-xr-x +0:0 +2 B .*su/)
  t.notMatch(screen(e), /app\b.*COPY app[^]*app *$/m)
  t.match(press(e, 'down'), /changes of layer 1[^]*passwd/)
  t.notMatch(screen(e), /\bapp *$/m, 'what a later layer adds is not there yet')
  t.match(press(e, 'down'), /app *$/m)
  t.match(press(e, 'ctrl-a'), /changes up to layer 2/)
  t.match(press(e, 'ctrl-l'), /changes of layer 2/)
})

t.test('in a narrow terminal the names have room, and what stands before them goes', async t => {
  const e = explorer()
  t.match(screen(e, 80), /^.*│ +Size {2}Tree *$[^]*│ +4 B .*passwd *$/m)
  t.notMatch(screen(e, 80), /Permission|rw-r/)
  t.match(screen(e, 50), /│Tree *$[^]*passwd *$/m)
  t.notMatch(screen(e, 50), /│ +4 B/)
  for (const columns of [140, 80, 50, 32])
    for (const line of e.frame(columns, 12)) t.ok(displayWidth(line) <= columns, `${columns}: ${line}`)
})

t.test("dive's filters", async t => {
  const e = explorer()
  press(e, 'down', 'tab', 'ctrl-u')
  t.match(screen(e), 'motd')
  t.notMatch(screen(e), / su *$/m, 'unmodified ones are away')
  t.notMatch(press(e, 'ctrl-r'), /motd *$/m, 'removed')
  t.notMatch(press(e, 'enter'), /passwd *$/m, 'modified')
  t.notMatch(press(e, 'ctrl-a'), /evil/, 'added')
  t.match(screen(e), 'nothing matches')
  t.match(press(e, 'ctrl-u', 'ctrl-r'), / su *$/m)
  t.notMatch(press(e, 'ctrl-b'), 'Permission')
})

t.test('folding and moving', async t => {
  const e = explorer()
  press(e, 'tab')
  t.notMatch(press(e, 'ctrl-space'), /passwd *$/m)
  t.match(press(e, 'space'), /passwd *$/m, 'the first directory is opened')
  t.notMatch(press(e, 'left'), /passwd *$/m)
  t.match(press(e, 'right', 'down', 'down'), ' /etc/passwd ·')
  t.match(press(e, 'left'), ' /etc ·', 'to the parent')
  t.match(press(e, 'end'), ' /usr ·')
  t.match(press(e, 'home'), ' /etc ·')
})

t.test('filtering by name', async t => {
  const e = explorer()
  t.match(press(e, 'tab', 'ctrl-f', 'p', 'a', 's', 'q'), 'Filter: pasq')
  t.match(screen(e), 'nothing matches')
  t.match(press(e, 'backspace'), /passwd *$/m)
  t.notMatch(screen(e), /motd *$/m)
  t.equal(e.done, false, 'q is a letter here')
  t.match(press(e, 'escape'), /motd *$/m)
  press(e, 'q')
  t.equal(e.done, true)
})

t.test('a frame is exactly as large as asked, and nothing in it acts on the terminal', async t => {
  const e = explorer()
  press(e, 'down', 'tab')
  t.match(screen(e), '\\x1b[2Jevil\\xff')
  for (const [columns, rows] of [
    [140, 30],
    [80, 24],
    [50, 8],
    [20, 3],
  ] as const) {
    const frame = e.frame(columns, rows)
    t.equal(frame.length, rows)
    if (columns >= 50)
      t.ok(
        frame.every(line => displayWidth(line) === columns),
        `${columns} columns`,
      )
    // eslint-disable-next-line no-control-regex
    t.notMatch(frame.join(''), /[\u0000-\u001f\u007f]/)
  }
  const coloured = screen(explorer(true)).replaceAll('\n', '').split('\x1b')
  t.ok(coloured.length > 5, 'colours')
  t.ok(
    coloured.slice(1).every(part => /^\[[0-9;]*m/.test(part)),
    'and nothing but colours',
  )
  t.equal(fit('漢字漢字', 5), '漢字…')
  t.equal(fit('漢字漢字', 4), '漢… ')
})

t.test('keys', async t => {
  t.same(keysOf('\x1b[A\x1b[6~j\t\x01\r \x00\x7f\x1b'), [
    'up',
    'pagedown',
    'j',
    'tab',
    'ctrl-a',
    'enter',
    'space',
    'ctrl-space',
    'backspace',
    'escape',
  ])
  t.same(keysOf('\x1b[1;5Pä'), ['ä'], 'unknown sequences are nothing')
})
