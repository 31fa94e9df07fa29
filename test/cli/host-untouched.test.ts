import t from 'tap'
import { untouchedBy, whyNot } from './host-untouched.js'

t.test('a script that goes through /etc and /usr leaves the host as it was', { skip: whyNot() }, async t => {
  const script = `set -e
    touch /etc/x; rm -rf /usr/share/doc; echo hi >> /etc/hosts; mv /usr/share/man /usr/share/man2
    chmod -R o+w /etc; : > /etc/passwd.new; mv /etc/passwd.new /etc/passwd; ln /etc/fstab /etc/fstab2; tail -1 /etc/hosts`
  untouchedBy(t, script, (changes, said) => {
    t.equal(said, 'hi\n', 'the process sees what it wrote')
    t.equal(changes.get('/etc/x'), 'A')
    t.equal(changes.get('/usr/share/doc'), 'D')
    t.equal(changes.get('/etc/passwd'), 'C')
    t.equal(changes.get('/usr/share/man'), 'D')
    t.equal(changes.get('/usr/share/man2'), 'A')
    t.equal(changes.get('/etc/fstab2'), 'A')
  })
})
