/** A program: mounts the request in its first argument, runs the shell script in its second, unmounts. */
import { execFileSync } from 'node:child_process'
import { launchServer } from '../../lib/mount/launch.js'
import type { ServeRequest } from '../../lib/mount/serve.js'
import { unmountPath } from '../../lib/mount/unmount.js'

const [request = '', script = ''] = process.argv.slice(2)
const wanted = JSON.parse(request) as ServeRequest
const record = await launchServer(wanted)
console.log(`passthrough ${record.passthrough}`)
try {
  process.stdout.write(execFileSync('/bin/sh', ['-ec', script], { encoding: 'utf8' }))
} finally {
  await unmountPath(wanted.runRoot, wanted.mountpoint)
}
