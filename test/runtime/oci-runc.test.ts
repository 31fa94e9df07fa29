import t from 'tap'
import { suite } from './oci.js'

t.setTimeout(175_000)
suite(t, 'runc')
