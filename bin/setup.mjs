// Makes a clone ready: node_modules as package-lock.json has them, and with --test the Debian packages that tests use as
// peers and oracles. Does nothing, quickly, when nothing is to do. A missing package never fails the run: tests that need
// it skip and say so.
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, lstatSync, readFileSync, statSync, writeFileSync } from 'node:fs'

/** Debian packages by what the tests use them for. The one place where they are listed. */
const packages = {
  'file systems and attributes': [
    'acl',
    'attr',
    'e2fsprogs',
    'fuse3',
    'libfuse2',
    'erofs-utils',
    'libcap2-bin',
    'util-linux',
    'fuse-overlayfs',
  ],
  'images, as peers and oracles': ['skopeo', 'umoci', 'buildah', 'docker-registry', 'openssl', 'strace', 'zstd'],
  'real root filesystems': ['mmdebstrap'],
  'containers: networks, users, runtimes': [
    'iproute2',
    'nftables',
    'iptables',
    'passt',
    'slirp4netns',
    'uidmap',
    'crun',
    'runc',
    'podman',
  ],
  'services in containers': ['postgresql-client'],
  'real programs on the mount': ['git', 'rsync', 'sqlite3', 'gcc', 'libc6-dev', 'curl', 'procps', 'python3'],
  'the explorer in a browser': ['chromium'],
  'shells, for completion': ['zsh', 'fish'],
}

const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
if (major < 20 || (major === 20 && minor < 19)) {
  console.error(`setup: Node >= 20.19 is needed, this is ${process.version}`)
  process.exit(1)
}
installModules()
if (process.argv.includes('--test')) installPackages()

/** npm ci, when node_modules is missing or not of this lock file. Install scripts never run: no dependency needs one. */
function installModules() {
  const modules = lstatSync('node_modules', { throwIfNoEntry: false })
  if (modules?.isSymbolicLink()) return
  const stamp = 'node_modules/.lamina-setup'
  const lock = createHash('sha256').update(readFileSync('package-lock.json')).digest('hex')
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === lock) return
  console.log('setup: npm ci')
  const args = ['ci', '--ignore-scripts', '--no-audit', '--no-fund', '--prefer-offline', '--loglevel=error']
  const { status } = spawnSync('npm', args, { stdio: ['ignore', 'inherit', 'inherit'], timeout: 600_000 })
  if (status !== 0) {
    console.error('setup: npm ci failed')
    process.exit(1)
  }
  writeFileSync(stamp, lock)
}

function installPackages() {
  const missing = missingPackages()
  if (missing.length === 0) return
  const stamp = 'node_modules/.lamina-setup-apt'
  const tried = existsSync(stamp) && readFileSync(stamp, 'utf8') === missing.join('\n') ? statSync(stamp).mtimeMs : 0
  const why =
    process.geteuid() !== 0
      ? 'not root'
      : !existsSync('/usr/bin/apt-get')
        ? 'no apt-get'
        : Date.now() - tried < 3_600_000
          ? 'tried within the last hour'
          : undefined
  if (why === undefined) {
    writeFileSync(stamp, missing.join('\n'))
    console.log(`setup: apt-get install ${missing.join(' ')}`)
    apt('update')
    // All at once is quick; one unknown name would fail all, so then one by one.
    if (!apt('install', ...missing)) for (const name of missingPackages()) apt('install', name)
  }
  const left = missingPackages()
  if (left.length > 0)
    console.log(`setup: missing, tests that need them will skip: ${left.join(' ')}${why ? ` (${why})` : ''}`)
}

function missingPackages() {
  const wanted = Object.values(packages).flat()
  const { stdout } = spawnSync('dpkg-query', ['-W', '-f', '${Package} ${db:Status-Status}\n', ...wanted], {
    encoding: 'utf8',
  })
  const installed = new Set(
    (stdout ?? '')
      .split('\n')
      .filter(line => line.endsWith(' installed'))
      .map(line => line.split(' ')[0]),
  )
  return wanted.filter(name => !installed.has(name))
}

function apt(...args) {
  const options = [
    '-qq',
    '-y',
    '--no-install-recommends',
    '-o',
    'Acquire::http::Timeout=20',
    '-o',
    'Acquire::Retries=1',
  ]
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
  const result = spawnSync('apt-get', [...options, ...args], {
    env,
    stdio: ['ignore', 'ignore', 'inherit'],
    timeout: 300_000,
  })
  return result.status === 0
}
