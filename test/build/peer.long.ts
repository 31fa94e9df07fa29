import t from 'tap'
import { corpus } from './corpus.js'
import { compareAll, peerMissing } from './peer.js'

const skip = peerMissing()

t.test('what buildah makes of the same Dockerfiles', { skip, timeout: 1_800_000 }, async t => {
  await compareAll(t, corpus)
})
