/**
 * Owns whom to trust as a registry: the certificate authorities of this machine, and what is kept for one registry in
 * `certs.d/HOST[:PORT]/` as Docker and Podman have it: `*.crt` are authorities, `NAME.cert` with `NAME.key` is what to show.
 * Invariant: what lies under one registry's name is used for that registry only.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { rootCertificates, type SecureContextOptions } from 'node:tls'
import { ImageError } from './error.js'

/** Where distributions keep the machine's authorities. */
const BUNDLES = [
  '/etc/ssl/certs/ca-certificates.crt',
  '/etc/pki/tls/certs/ca-bundle.crt',
  '/etc/ssl/ca-bundle.pem',
  '/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem',
  '/etc/ssl/cert.pem',
]

/** Directories with one directory per registry, the user's own first. */
export function certificateDirectories(env: NodeJS.ProcessEnv = process.env): string[] {
  const config = env['XDG_CONFIG_HOME'] || join(homedir(), '.config')
  return [
    join(config, 'containers/certs.d'),
    join(config, 'docker/certs.d'),
    '/etc/containers/certs.d',
    '/etc/docker/certs.d',
  ]
}

/** What a connection to `host` (with its port, where one was given) stands on. Throws ImageError CREDENTIALS for half a pair. */
export function certificatesFor(host: string, env: NodeJS.ProcessEnv = process.env): SecureContextOptions {
  const ca: (string | Buffer)[] = []
  const cert: Buffer[] = []
  const key: Buffer[] = []
  for (const top of certificateDirectories(env)) {
    const directory = join(top, host)
    // A URL's host has no slash, but may be `..`.
    const names = !/^\.+$/.test(host) && existsSync(directory) ? readdirSync(directory).sort() : []
    for (const name of names) {
      const path = join(directory, name)
      if (name.endsWith('.crt')) ca.push(readFileSync(path))
      else if (name.endsWith('.cert')) {
        const secret = path.replace(/cert$/, 'key')
        if (!existsSync(secret)) throw new ImageError('CREDENTIALS', `read ${path}: there is no ${secret}`, { path })
        cert.push(readFileSync(path))
        key.push(readFileSync(secret))
      }
    }
  }
  return { ca: [...authorities(env), ...ca], ...(cert.length > 0 ? { cert, key } : {}) }
}

/** The machine's authorities; those that came with Node where the machine has none. */
function authorities(env: NodeJS.ProcessEnv): readonly (string | Buffer)[] {
  const bundle = env['SSL_CERT_FILE'] || BUNDLES.find(path => existsSync(path))
  return bundle === undefined ? rootCertificates : [readFileSync(bundle)]
}
