import t from 'tap'
import { untouchedBy, whyNot } from './host-untouched.js'

t.test(
  'what a script does to /etc and /usr on a layer over / leaves the host as it was',
  { skip: whyNot() },
  async t => {
    // Where there is no network, apt-get is not to wait for long; the second line is the promise, word for word.
    const script = `mkdir -p /etc/apt/apt.conf.d && echo 'Acquire::http::Timeout "5"; Acquire::Retries "0";' > /etc/apt/apt.conf.d/99quick
    (apt-get install -y sl || touch /etc/x; rm -rf /usr/share/doc; echo hi >> /etc/hosts; mv /usr/share/man /usr/share/man2; chmod -R o+w /etc) > /dev/null 2>&1
    set -e; ls -d /usr/games/sl /etc/x 2> /dev/null || :
    : > /etc/passwd.new; mv /etc/passwd.new /etc/passwd; ln /etc/fstab /etc/fstab2; tail -1 /etc/hosts`
    untouchedBy(t, script, (changes, said) => {
      const [first = '', second] = said.split('\n')
      t.match(first, /^\/(usr\/games\/sl|etc\/x)$/, 'apt-get has worked, or the other side of the ||')
      t.equal(second, 'hi', 'the process sees what it wrote')
      t.equal(changes.get(first), 'A')
      t.equal(changes.get('/usr/share/doc'), 'D')
      t.equal(changes.get('/etc/passwd'), 'C')
      t.equal(changes.get('/usr/share/man'), 'D')
      t.equal(changes.get('/usr/share/man2'), 'A')
      t.equal(changes.get('/etc/fstab2'), 'A')
      t.equal(changes.get('/etc/hosts'), 'C')
    })
  },
)
