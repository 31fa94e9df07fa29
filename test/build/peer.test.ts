import t from 'tap'
import { corpus } from './corpus.js'
import { compareAll, peerMissing } from './peer.js'

const skip = peerMissing()

t.test(
  'what buildah makes of the same Dockerfiles (a few; all in the long run)',
  { skip, timeout: 300_000 },
  async t => {
    t.ok(corpus.length >= 60, `${corpus.length} Dockerfiles`)
    await compareAll(
      t,
      corpus.filter(s => s.quick),
    )
  },
)
