import { rootlessVerbs } from './rootless-verbs.js'

rootlessVerbs([
  { ids: true, driver: 'fuse' },
  { ids: false, driver: 'fuse' },
])
