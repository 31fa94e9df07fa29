import t from 'tap'
import { spawnSync } from 'node:child_process'
import { untouchedBy, whyNot } from './host-untouched.js'

const noApt = spawnSync('apt-get', ['--version']).status === 0 ? false : 'no apt-get'

t.test('installing a package on a layer over / leaves every byte of the host', { skip: whyNot() || noApt }, async t => {
  const script = `(apt-get update -qq && apt-get install -y -qq sl) >/dev/null 2>&1 || touch /etc/x
    rm -rf /usr/share/doc; echo hi >> /etc/hosts; mv /usr/share/man /usr/share/man2; chmod -R o+w /etc; ls /usr/games/sl /etc/x 2>/dev/null || :`
  const see = (changes: ReadonlyMap<string, string>, said: string): void => {
    t.match(said, /^\/(usr\/games\/sl|etc\/x)\n/)
    t.equal(changes.get(said.split('\n')[0] ?? ''), 'A')
    t.equal(changes.get('/usr/share/doc'), 'D')
  }
  untouchedBy(t, script, see, { whole: true })
})
