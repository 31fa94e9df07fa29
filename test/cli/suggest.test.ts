import t from 'tap'
import { didYouMean } from '../../lib/cli/suggest.js'

t.test('the nearest known word is suggested', async t => {
  const verbs = ['mount', 'unmount', 'mounts', 'run', 'rm', 'rmi', 'images']
  for (const [word, suggestion] of [
    ['moutn', 'mount'],
    ['unmoutn', 'unmount'],
    ['image', 'images'],
    ['rnu', 'run'],
  ] as const)
    t.equal(didYouMean(word, verbs), `; did you mean '${suggestion}'?`, word)
})

t.test('nothing is suggested where nothing is near', async t => {
  t.equal(didYouMean('xyzzy', ['mount', 'unmount']), '')
  t.equal(didYouMean('--verbose', ['--root', '--json']), '')
})
