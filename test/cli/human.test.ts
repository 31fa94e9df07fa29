import t from 'tap'
import { ago, duration, parseSize, size } from '../../lib/cli/human.js'

t.test('sizes are written as Docker writes them', async t => {
  for (const [bytes, text] of [
    [0, '0B'],
    [999, '999B'],
    [1000, '1kB'],
    [1213, '1.21kB'],
    [72_812_345, '72.8MB'],
    [999_999, '1MB'],
    [1_500_000_000, '1.5GB'],
    [2 ** 53, '9.01PB'],
  ] as const)
    t.equal(size(bytes), text)
})

t.test('sizes are read in powers of 1024, and nothing else is a size', async t => {
  for (const [text, bytes] of [
    ['0', 0],
    ['512', 512],
    ['512b', 512],
    ['64k', 65536],
    ['64KB', 65536],
    ['512m', 512 * 1024 * 1024],
    ['1.5g', 1.5 * 1024 ** 3],
    ['1GiB', 1024 ** 3],
    ['', undefined],
    ['m', undefined],
    ['-1', undefined],
    ['1e3', undefined],
    ['12x', undefined],
    ['1 2', undefined],
  ] as const)
    t.equal(parseSize(text), bytes, text)
})

t.test('durations have Docker’s words', async t => {
  const minute = 60
  const hour = 3600
  const day = 24 * hour
  for (const [seconds, text] of [
    [0.4, 'Less than a second'],
    [1, '1 second'],
    [59, '59 seconds'],
    [90, 'About a minute'],
    [5 * minute, '5 minutes'],
    [hour, 'About an hour'],
    [3 * hour, '3 hours'],
    [47 * hour, '47 hours'],
    [2 * day, '2 days'],
    [20 * day, '2 weeks'],
    [90 * day, '3 months'],
    [800 * day, '2 years'],
  ] as const)
    t.equal(duration(seconds), text)
  t.equal(ago(1000, 61_000), 'About a minute ago')
  t.equal(ago(5000, 1000), 'Less than a second ago', 'a clock that went back')
})
