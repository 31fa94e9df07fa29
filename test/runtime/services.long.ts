/**
 * Real services as people run them: nginx and PostgreSQL from Debian packages, on an image built here, in the background with
 * published ports, limits, a volume, logs and health checks.
 */
import t from 'tap'
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Lamina, unable, until } from './lamina.js'

t.setTimeout(3_000_000)

const missing = ['mmdebstrap', 'curl', 'psql'].find(p => spawnSync(p, ['--version']).error !== undefined)
const skip = unable() || (missing === undefined ? false : `${missing} is not installed`)

/** Adds a password for `postgres` and makes the cluster at the first start, as the image on Docker Hub does. */
const startPostgres = `#!/bin/sh
set -e
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  printf %s "$POSTGRES_PASSWORD" > /tmp/password
  initdb -U postgres --pwfile=/tmp/password --auth-local=trust --auth-host=scram-sha-256 > /dev/null
  echo 'host all all all scram-sha-256' >> "$PGDATA/pg_hba.conf"
  rm /tmp/password
fi
exec postgres -c listen_addresses='*'
`

const webFile = `FROM services:1
RUN ln -sf /dev/stdout /var/log/nginx/access.log && ln -sf /dev/stderr /var/log/nginx/error.log
COPY index.html /var/www/html/index.html
EXPOSE 80
HEALTHCHECK --interval=200ms --retries=200 CMD ["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/80"]
STOPSIGNAL SIGQUIT
CMD ["nginx", "-g", "daemon off;"]
`

const dataFile = `FROM services:1
COPY --chmod=755 start /usr/local/bin/start
RUN mkdir -p /data /run/postgresql && chown postgres:postgres /data /run/postgresql && chmod 700 /data
ENV PGDATA=/data PATH=/usr/lib/postgresql/15/bin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
USER postgres
VOLUME /data
EXPOSE 5432
HEALTHCHECK --interval=200ms --retries=600 CMD pg_isready -h 127.0.0.1
STOPSIGNAL SIGINT
ENTRYPOINT ["start"]
`

t.test('nginx and PostgreSQL', { skip, timeout: 2_900_000 }, async t => {
  const lamina = new Lamina()
  t.teardown(() => lamina.close())
  const tar = join(lamina.scratch, 'services.tar')
  // The same as everybody's mirror: a machine without a way to one cannot run this.
  const made = spawnSync(
    'mmdebstrap',
    ['--variant=minbase', '--include=nginx-light,postgresql', '--aptopt=Acquire::Retries "3"', 'bookworm', tar],
    { encoding: 'utf8', timeout: 2_000_000 },
  )
  if (made.status !== 0) {
    t.pass('a Debian with both', { skip: `mmdebstrap: ${made.stderr.trim().split('\n').at(-1) ?? ''}` })
    return
  }
  lamina.out('import', tar, 'services:1')
  const build = (name: string, dockerfile: string, files: Record<string, string>): void => {
    const context = join(lamina.scratch, name)
    mkdirSync(context)
    for (const [file, text] of Object.entries({ Dockerfile: dockerfile, ...files }))
      writeFileSync(join(context, file), text)
    lamina.out('build', '-q', '-t', `${name}:1`, context)
  }
  build('web', webFile, { 'index.html': 'served by nginx\n' })
  build('data', dataFile, { start: startPostgres })
  const health = (name: string): string => lamina.out('inspect', '-f', '{{.State.Health.Status}}', name)
  const port = (name: string, inside: string): string => lamina.out('port', name, inside).replace(/^.*:/, '')
  const cgroupFile = (name: string, file: string): string => {
    const { cgroup } = JSON.parse(
      readFileSync(join(lamina.root, 'containers', lamina.out('inspect', '-f', '{{.Id}}', name), 'state.json'), 'utf8'),
    ) as { cgroup: string }
    const found = spawnSync('find', ['/sys/fs/cgroup', '-path', `*${cgroup}/${file}`], { encoding: 'utf8' }).stdout
    return readFileSync(found.trim().split('\n')[0] ?? '', 'utf8').trim()
  }

  await t.test('nginx', async t => {
    const limits = ['--memory', '128m', '--cpus', '1', '--pids-limit', '50']
    const id = lamina.out('run', '-d', '--name', 'web', '-p', '127.0.0.1::80', ...limits, 'web:1')
    t.ok(await until(() => health('web') === 'healthy'), lamina.do(['logs', 'web']).stderr)
    const address = `http://127.0.0.1:${port('web', '80')}/`
    const r = spawnSync('curl', ['-sS', '-m', '60', address], { encoding: 'utf8' })
    t.equal(r.stdout, 'served by nginx\n', r.stderr)
    t.ok(await until(() => lamina.do(['logs', 'web']).stdout.includes('"GET / HTTP/1.1" 200')), 'its log')
    t.equal(lamina.do(['logs', 'web']).stderr.includes('[emerg]'), false)
    t.match(lamina.out('ps', '--format', '{{.Status}} {{.Ports}}'), /^Up .* \(healthy\) 127\.0\.0\.1:\d+->80\/tcp$/)
    const inside = spawnSync('ls', [`/proc/${lamina.out('inspect', '-f', '{{.State.Pid}}', 'web')}/root/var/www/html`])
    t.equal(inside.status, 0, 'the host sees its process and its root')
    const memory = existsSync('/sys/fs/cgroup/memory') ? 'memory.limit_in_bytes' : 'memory.max'
    t.equal(cgroupFile('web', memory), String(128 << 20))
    t.equal(cgroupFile('web', 'pids.max'), '50')
    t.match(JSON.parse(lamina.out('stats', '--no-stream', '--json', 'web')), [{ Name: 'web', MemUsage: /\/ 134MB$/ }])
    t.match(lamina.out('exec', 'web', 'nginx', '-v'), '')
    lamina.out('stop', 'web')
    t.match(JSON.parse(lamina.out('inspect', 'web')), [{ State: { Status: 'exited', ExitCode: 0, OOMKilled: false } }])
    t.not(spawnSync('curl', ['-s', address]).status, 0, 'nobody listens any more')
    lamina.out('start', 'web')
    t.ok(await until(() => health('web') === 'healthy'), 'and again')
    lamina.out('rm', '-f', 'web')
    t.equal(spawnSync('find', ['/sys/fs/cgroup', '-name', id], { encoding: 'utf8' }).stdout, '')
  })

  await t.test('PostgreSQL, and its data outlives it', async t => {
    const start = (name: string): void => {
      const options = ['-e', 'POSTGRES_PASSWORD=secret', '-v', 'records:/data', '-p', '127.0.0.1::5432']
      const limits = ['--memory', '256m', '--cpus', '1.5', '--pids-limit', '100', '--shm-size', '64m']
      lamina.out('run', '-d', '--name', name, ...options, ...limits, 'data:1')
    }
    const sql = (name: string, statement: string) =>
      spawnSync('psql', ['-h', '127.0.0.1', '-p', port(name, '5432'), '-U', 'postgres', '-Atc', statement], {
        encoding: 'utf8',
        env: { ...process.env, PGPASSWORD: 'secret', PGCONNECT_TIMEOUT: '60' },
        timeout: 300_000,
      })
    start('db')
    t.ok(await until(() => health('db') === 'healthy', 600), lamina.do(['logs', 'db']).stderr)
    const made = sql(
      'db',
      'create table t as select n, md5(n::text) as h from generate_series(1, 20000) n; select count(*) from t',
    )
    t.match(made, { status: 0, stdout: /20000\n$/ }, made.stderr)
    t.equal(sql('db', 'select current_user').stdout, 'postgres\n')
    const wrong = spawnSync('psql', ['-h', '127.0.0.1', '-p', port('db', '5432'), '-U', 'postgres', '-c', 'select 1'], {
      encoding: 'utf8',
      env: { ...process.env, PGPASSWORD: 'wrong' },
    })
    t.match(wrong.stderr, /password authentication failed/)
    t.equal(lamina.out('exec', 'db', 'id', '-un'), 'postgres', 'exec is the image’s user too')
    lamina.out('update', '--memory', '300m', '--memory-swap', '600m', 'db')
    lamina.out('stop', '-t', '120', 'db')
    t.match(JSON.parse(lamina.out('inspect', 'db')), [{ State: { Status: 'exited', ExitCode: 0 } }], 'a clean end')
    t.match(lamina.do(['logs', 'db']).stderr, /database system is shut down/)
    lamina.out('rm', '-v', 'db')

    start('again')
    t.ok(await until(() => health('again') === 'healthy', 600), lamina.do(['logs', 'again']).stderr)
    t.equal(sql('again', 'select count(*), sum(length(h)) from t').stdout, '20000|640000\n')
    t.notMatch(lamina.do(['logs', 'again']).stderr, /not properly shut down/, 'and nothing was to be recovered')
    lamina.out('kill', 'again')
    t.equal(lamina.out('wait', 'again'), '137')
    lamina.out('start', 'again')
    t.ok(await until(() => health('again') === 'healthy', 600))
    t.equal(sql('again', 'select count(*) from t').stdout, '20000\n', 'nor is anything lost when it is killed')
    lamina.out('rm', '-f', 'again')
    t.match(lamina.out('volume', 'ls'), /records/)
    lamina.out('volume', 'rm', 'records')
  })
})
