import t from 'tap'
import { expand } from '../../lib/build/expand.js'
import { BuildError } from '../../lib/build/error.js'

const values: Record<string, string> = {
  a: 'one',
  empty: '',
  file: 'dir/archive.tar.gz',
  words: 'x  y z',
  dots: 'a.b.c',
  dollar: '$1 & \\',
}
const env = (name: string): string | undefined => (Object.hasOwn(values, name) ? values[name] : undefined)

const right: readonly (readonly [string, string])[] = [
  ['plain', 'plain'],
  ['$a', 'one'],
  ['${a}two', 'onetwo'],
  ['$a.$none.$empty', 'one..'],
  ['$', '$'],
  ['a$', 'a$'],
  ['$ a', '$ a'],
  ['\\$a', '$a'],
  ["'$a'", '$a'],
  ['"$a"', 'one'],
  ['"\\$a \\" \\\\ \\n"', '$a " \\ \\n'],
  ["a\\ b'c d'", 'a bc d'],
  ['${none:-x}', 'x'],
  ['${empty:-x}', 'x'],
  ['${empty-x}', ''],
  ['${none-x}', 'x'],
  ['${a:-x}', 'one'],
  ['${a:+x}', 'x'],
  ['${empty:+x}', ''],
  ['${empty+x}', 'x'],
  ['${none+x}', ''],
  ['${a:?no}', 'one'],
  ['${none:-${a}}', 'one'],
  ['${none:-${other:-$a/b}}', 'one/b'],
  ['${none:-"q }"}', 'q }'],
  ['${file#*/}', 'archive.tar.gz'],
  ['${file##*/}', 'archive.tar.gz'],
  ['${dots#*.}', 'b.c'],
  ['${dots##*.}', 'c'],
  ['${dots%.*}', 'a.b'],
  ['${dots%%.*}', 'a'],
  ['${dots%x}', 'a.b.c'],
  ['${dots#?}', '.b.c'],
  ['${dots/./-}', 'a-b.c'],
  ['${dots//./-}', 'a-b-c'],
  ['${dots//./}', 'abc'],
  ['${dots/b*/$a}', 'a.one'],
  ['${dots//\\./$dollar}', 'a$1 & \\b$1 & \\c'],
  ['${file/\\//:}', 'dir:archive.tar.gz'],
  ['$words', 'x  y z'],
  ['$1', ''],
]

t.test('every form of expansion', async t => {
  for (const [text, value] of right) t.equal(expand(text, { escape: '\\', env }).value, value, text)
})

t.test('the other escape character', async t => {
  t.equal(expand('c:\\dir\\$a', { escape: '`', env }).value, 'c:\\dir\\one')
  t.equal(expand('`$a', { escape: '`', env }).value, '$a')
})

t.test('words: unquoted values split, quoted ones do not', async t => {
  const words = (text: string) => expand(text, { escape: '\\', env }).words
  t.strictSame(words('a b  c'), ['a', 'b', 'c'])
  t.strictSame(words('$words'), ['x', 'y', 'z'])
  t.strictSame(words('1$words"2 3"'), ['1x', 'y', 'z2 3'])
  t.strictSame(words('"$words"'), ['x  y z'])
  t.strictSame(words("'' a"), ['', 'a'])
  t.strictSame(words('$empty $none'), [])
})

t.test('it tells which variables it asked for and which were not set', async t => {
  const { used, unset } = expand('$a $none ${other:-d} ${third#x}', { escape: '\\', env })
  t.strictSame(used, ['a', 'none', 'other', 'third'])
  t.strictSame(unset, ['none', 'third'])
})

t.test('raw and keepUnset leave the text as it was', async t => {
  const text = '$none "a \\" b" \'c\' ${none:-x} ${none/a/b} d\\ e'
  t.equal(expand(text, { escape: '\\', env, keepUnset: true, rawQuotes: true, rawEscapes: true }).value, text)
})

const bad: readonly (readonly [string, string, RegExp])[] = [
  ["'a", 'QUOTE', /single quote/],
  ['"a', 'QUOTE', /double quote/],
  ['"a\\', 'QUOTE', /double quote/],
  ['${', 'SUBSTITUTION', /missing "}"/],
  ['${a', 'SUBSTITUTION', /missing "}"/],
  ['${}', 'SUBSTITUTION', /bad substitution/],
  ['${:x}', 'SUBSTITUTION', /bad substitution/],
  ['${a:x}', 'SUBSTITUTION', /modifier ":x"/],
  ['${a:#x}', 'SUBSTITUTION', /modifier ":#"/],
  ['${a^^}', 'SUBSTITUTION', /modifier "\^"/],
  ['${a:-x', 'SUBSTITUTION', /missing "}"/],
  ['${a/b}', 'SUBSTITUTION', /missing "\/"/],
  ['${none?}', 'SUBSTITUTION', /none: is not allowed to be unset/],
  ['${none:?set $a}', 'SUBSTITUTION', /none: set one/],
  ['${empty:?}', 'SUBSTITUTION', /empty: is not allowed to be empty/],
]

t.test('malformed substitutions are refused', async t => {
  for (const [text, code, message] of bad) {
    try {
      t.fail(`${text} → ${expand(text, { escape: '\\', env }).value}`)
    } catch (error) {
      t.ok(error instanceof BuildError && error.code === code, text)
      t.match((error as Error).message, message, text)
    }
  }
})
