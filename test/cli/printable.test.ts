import t from 'tap'
import { printable, printableBytes } from '../../lib/cli/printable.js'
import { displayWidth, printJson, printTable } from '../../lib/cli/print.js'

t.test('foreign text cannot steer the terminal', async t => {
  for (const [text, shown] of [
    ['plain name-1.txt', 'plain name-1.txt'],
    ['grün 日本 🎉', 'grün 日本 🎉'],
    ['a\nb\tc\rd', 'a\\nb\\tc\\rd'],
    ['\u001b[31mred\u0007', '\\x1b[31mred\\x07'],
    ['\u009b31m', '\\u{9b}31m'],
    ['del\u007f', 'del\\x7f'],
    ['exe\u202egpj.sh', 'exe\\u{202e}gpj.sh'],
    ['zero\u200bwidth\ufeff', 'zero\\u{200b}width\\u{feff}'],
    ['tag\u{e0041}', 'tag\\u{e0041}'],
    ['back\\slash', 'back\\\\slash'],
    ['lone \ud800 surrogate', 'lone \\u{d800} surrogate'],
  ] as const)
    t.equal(printable(text), shown, JSON.stringify(text))
})

t.test('bytes that are no UTF-8 are shown one by one, their neighbours as they are', async t => {
  const bytes = (...parts: (string | number)[]) =>
    parts.map(p => (typeof p === 'number' ? String.fromCharCode(p) : Buffer.from(p).toString('latin1'))).join('')
  for (const [name, shown] of [
    [bytes('grün'), 'grün'],
    [bytes('a', 0xff, 'b'), 'a\\xffb'],
    [bytes('ü', 0xc3, 'ü'), 'ü\\xc3ü'],
    [bytes(0xe2, 0x82), '\\xe2\\x82'],
    [bytes(0xc0, 0xaf), '\\xc0\\xaf'],
    [bytes('\n', 0x80), '\\n\\x80'],
  ] as const)
    t.equal(printableBytes(name), shown, shown)
})

t.test('a table lines up, whatever is in its cells', async t => {
  let text = ''
  const out = { write: (chunk: string | Uint8Array) => ((text += chunk.toString()), true) }
  const rows = [
    { name: 'a', bytes: 5 },
    { name: '日本', bytes: 12345 },
    { name: 'x\u001by', bytes: 0 },
  ]
  printTable(out, rows, [
    { heading: 'NAME', cell: r => r.name },
    { heading: 'BYTES', cell: r => String(r.bytes), right: true },
    { heading: 'SAME', cell: r => r.name },
  ])
  t.equal(
    text,
    ['NAME     BYTES   SAME', 'a            5   a', '日本     12345   日本', 'x\\x1by       0   x\\x1by', ''].join(
      '\n',
    ),
  )
  t.equal(displayWidth('e\u0301日🎉'), 5, 'combining marks take no cell, wide characters two')
})

t.test('JSON is one line for a program, indented for a terminal', async t => {
  let text = ''
  const write = (chunk: string | Uint8Array) => ((text += chunk.toString()), true)
  printJson({ write }, { a: 1n, b: [] })
  printJson({ write, isTTY: true }, { a: 1 })
  t.equal(text, '{"a":1,"b":[]}\n{\n  "a": 1\n}\n')
})
