/**
 * Owns the three files that a container gets beside its tree: /etc/hosts, /etc/hostname, /etc/resolv.conf. They lie in
 * the container's directory and are bound over the image's.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { ContainerConfig } from './config.js'

/** Lines of /etc/hosts: the loopback names, the container's own, then what was added. */
export function hostsFile(
  hostname: string,
  domainname: string,
  address: string | undefined,
  extra: readonly string[],
): string {
  const names = domainname === '' ? hostname : `${hostname}.${domainname} ${hostname}`
  const lines = [
    '127.0.0.1\tlocalhost',
    '::1\tlocalhost ip6-localhost ip6-loopback',
    'fe00::\tip6-localnet',
    'ff00::\tip6-mcastprefix',
    'ff02::1\tip6-allnodes',
    'ff02::2\tip6-allrouters',
  ]
  if (address !== undefined) lines.push(`${address}\t${names}`)
  for (const e of extra) {
    const at = e.indexOf(':')
    lines.push(`${e.slice(at + 1)}\t${e.slice(0, at)}`)
  }
  return `${lines.join('\n')}\n`
}

/**
 * The container's resolv.conf: the host's, with what was asked for in its place. Where the container has a network of
 * its own, servers on the host's loopback cannot be reached and are left out; if none is left, `others` are used, or public
 * ones.
 */
export function resolvConf(
  host: string,
  config: Pick<ContainerConfig, 'dns' | 'dnsSearch' | 'dnsOptions'>,
  own: boolean,
  others: readonly string[] = [],
): string {
  const lines = host.split('\n').map(l => l.trim())
  const values = (key: string): string[] =>
    lines.filter(l => l.startsWith(`${key} `)).map(l => l.slice(key.length + 1).trim())
  const reachable = values('nameserver').filter(s => !own || !/^(127\.|::1$)/.test(s))
  const forwarders = others.length > 0 ? others : ['8.8.8.8', '8.8.4.4']
  const servers = config.dns.length > 0 ? config.dns : reachable.length > 0 || !own ? reachable : forwarders
  const search = config.dnsSearch.length > 0 ? config.dnsSearch.filter(s => s !== '.') : values('search').slice(-1)
  const options = config.dnsOptions.length > 0 ? config.dnsOptions : values('options').slice(-1)
  return [
    ...servers.map(s => `nameserver ${s}`),
    ...(search.length > 0 ? [`search ${search.join(' ')}`] : []),
    ...(options.length > 0 ? [`options ${options.join(' ')}`] : []),
    '',
  ].join('\n')
}

/**
 * Writes the files for a container into its directory and returns which to bind. A container on a plain directory
 * keeps the directory's own files where nothing was asked that they would not say.
 */
export function writeEtcFiles(
  directory: string,
  config: ContainerConfig,
  address: string | undefined,
  others = '',
  nameservers: readonly string[] = [],
): string[] {
  const plain = config.root.kind === 'directory'
  const onHost = config.network === 'host'
  const own = typeof config.network === 'object' && 'network' in config.network
  const chosen: string[] = []
  const put = (name: string, text: string): void => {
    writeFileSync(join(directory, name), text, { mode: 0o644 })
    chosen.push(name)
  }
  const hostFile = (path: string): string => {
    try {
      return readFileSync(path, 'utf8')
    } catch {
      return ''
    }
  }
  if (!plain || own || config.extraHosts.length > 0) {
    const extra = config.extraHosts.map(e => e.split(':')).map(([n = '', ...a]) => `${a.join(':')}\t${n}\n`)
    if (onHost) put('hosts', `${hostFile('/etc/hosts')}${extra.join('')}`)
    else put('hosts', hostsFile(config.hostname, config.domainname, address, config.extraHosts) + others)
  }
  if (!plain) put('hostname', `${config.hostname}\n`)
  const asked = config.dns.length + config.dnsSearch.length + config.dnsOptions.length > 0
  if (!plain || own || asked) put('resolv.conf', resolvConf(hostFile('/etc/resolv.conf'), config, own, nameservers))
  return chosen
}
