import t from 'tap'
import { parseOverlayOptions } from '../../lib/cli/overlay-options.js'

const none = { lower: [], upper: undefined, work: undefined, readOnly: false, volatile: false }

t.test('the overlay form gives lowers topmost first, upper and work', async t => {
  for (const [text, expected] of [
    ['lowerdir=/a', { lower: ['/a'] }],
    ['lowerdir=/a:/b:c', { lower: ['/a', '/b', 'c'] }],
    ['lowerdir=/a,upperdir=/u,workdir=/w', { lower: ['/a'], upper: '/u', work: '/w' }],
    ['workdir=/w,lowerdir=/a,upperdir=/u', { lower: ['/a'], upper: '/u', work: '/w' }],
    ['lowerdir=/a,ro', { lower: ['/a'], readOnly: true }],
    ['lowerdir=/a,volatile,', { lower: ['/a'], volatile: true }],
    ['lowerdir=/a,xino=auto,redirect_dir=on,metacopy=on,index=on', { lower: ['/a'] }],
    ['lowerdir=/a=b,upperdir=/u=1', { lower: ['/a=b'], upper: '/u=1' }],
  ] as const)
    t.strictSame(parseOverlayOptions([text]), { ...none, ...expected }, text)
})

t.test('a backslash takes the next character as it is', async t => {
  for (const [text, lower] of [
    ['lowerdir=/a\\:b', ['/a:b']],
    ['lowerdir=/a\\:b:/c', ['/a:b', '/c']],
    ['lowerdir=/a\\,b', ['/a,b']],
    ['lowerdir=/a\\\\b', ['/a\\b']],
    ['lowerdir=/a\\\\:/b', ['/a\\', '/b']],
    ['lowerdir=/a\\nb', ['/anb']],
    ['lowerdir=/a\n:/b', ['/a\n', '/b']],
  ] as const)
    t.strictSame(parseOverlayOptions([text]).lower, lower, text)
  t.equal(parseOverlayOptions(['upperdir=/u\\,v\\:w']).upper, '/u,v:w', 'in the upper too')
})

t.test('several -o add up, the last one of a name counts', async t => {
  t.strictSame(parseOverlayOptions(['lowerdir=/a', 'lowerdir=/b,ro']), { ...none, lower: ['/b'], readOnly: true })
})

t.test('what is not honoured is refused by name', async t => {
  for (const [text, message] of [
    ['lowerdir=/a,lowerdirr=/b', "unknown mount option 'lowerdirr=/b'"],
    ['lowerdir=', 'mount option lowerdir needs a directory'],
    ['lowerdir', 'mount option lowerdir needs a directory'],
    ['lowerdir=/a,upperdir=', 'mount option upperdir needs a directory'],
    ['lowerdir=:/a', 'mount option lowerdir: a directory name is empty'],
    ['lowerdir=/a:', 'mount option lowerdir: a directory name is empty'],
    ['lowerdir=/a::/b', 'mount option lowerdir: data-only lowers (::) are not supported'],
    ['lowerdir=/a,metacopy=off', "mount option 'metacopy=off': metacopy is always on"],
    ['lowerdir=/a,ro=1', "unknown mount option 'ro=1'"],
    ['lowerdir=/a,nosuid', "unknown mount option 'nosuid'"],
    ['lowerdir=/a,toString', "unknown mount option 'toString'"],
  ] as const)
    t.throws(() => parseOverlayOptions([text]), { code: 'USAGE', message }, text)
})
