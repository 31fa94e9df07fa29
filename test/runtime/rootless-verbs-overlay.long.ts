import { rootlessVerbs } from './rootless-verbs.js'

rootlessVerbs([
  { ids: true, driver: 'overlay' },
  { ids: false, driver: 'overlay' },
])
