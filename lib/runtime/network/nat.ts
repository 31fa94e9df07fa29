/**
 * Owns the packet filter's part in networks, by nft, else iptables, whichever is there: the way out (forwarding on, a
 * network's addresses hidden behind the host's), and the way in to published ports for who comes from other machines.
 * Format: one nft table `lamina-<link>` per bridge and one per container with ports, so that its end is one command.
 * Invariant: nothing here is needed on this machine itself: publish.ts listens on every published port.
 */
import { spawnSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import type { NetworkState, PortMapping } from '../config.js'
import type { Network } from './networks.js'

const FORWARD = '/proc/sys/net/ipv4/ip_forward'

/** A rule in both languages: for iptables without the command (-A, -D) that it is given with. */
interface Rule {
  nft: string
  iptables: string[]
}

/** Lets a network out. Undefined, or why that cannot be here. */
export function masquerade(network: Network): string | undefined {
  if (readFileSync(FORWARD, 'latin1').trim() !== '1') writeFileSync(FORWARD, '1')
  const chain = 'type nat hook postrouting priority srcnat; policy accept;'
  return addRules(network.link, chain, [outRule(network)])
}

export function unmasquerade(network: Network): void {
  removeRules(network.link, [outRule(network)])
}

/** Lets other machines in to the ports of `state`, seen with their own addresses. Undefined, or why that cannot be. */
export function forwardPorts(state: NetworkState, bridge: string): string | undefined {
  const rules = state.ports.filter(isReachable).map(p => inRule(p, state.address, bridge))
  if (rules.length === 0) return undefined
  return addRules(state.link, 'type nat hook prerouting priority dstnat; policy accept;', rules)
}

export function unforwardPorts(state: Pick<NetworkState, 'link' | 'address' | 'ports'>, bridge: string): void {
  const rules = state.ports.filter(isReachable).map(p => inRule(p, state.address, bridge))
  if (rules.length > 0) removeRules(state.link, rules)
}

/** No other machine comes to a loopback address; IPv6 is the proxy's. */
function isReachable({ hostIp }: PortMapping): boolean {
  return !hostIp.startsWith('127.') && !hostIp.includes(':')
}

function outRule({ subnet, prefix, link }: Network): Rule {
  const net = `${subnet}/${prefix}`
  return {
    nft: `ip saddr ${net} oifname != "${link}" masquerade`,
    iptables: ['POSTROUTING', '-s', net, '!', '-o', link, '-j', 'MASQUERADE'],
  }
}

/** Who is on the bridge comes by the proxy: an answer from there would not pass by here to be translated back. */
function inRule({ hostIp, hostPort, containerPort, protocol }: PortMapping, address: string, bridge: string): Rule {
  const any = hostIp === '' || hostIp === '0.0.0.0'
  const to = `${address}:${containerPort}`
  const from = any ? ['-m', 'addrtype', '--dst-type', 'LOCAL'] : ['-d', hostIp]
  const port = ['-p', protocol, '--dport', String(hostPort)]
  return {
    nft: `iifname != "${bridge}" ${any ? 'fib daddr type local' : `ip daddr ${hostIp}`} ${protocol} dport ${hostPort} dnat to ${to}`,
    iptables: ['PREROUTING', '!', '-i', bridge, ...from, ...port, '-j', 'DNAT', '--to-destination', to],
  }
}

function addRules(link: string, chain: string, rules: readonly Rule[]): string | undefined {
  // Named twice: a table that a killed command has left is replaced, in one transaction.
  const table = `table ip ${tableOf(link)}`
  const body = [` chain rules {`, `  ${chain}`, ...rules.map(r => `  ${r.nft}`), ' }']
  const input = [table, `delete ${table}`, `${table} {`, ...body, '}', ''].join('\n')
  const nft = spawnSync('nft', ['-f', '-'], { input, encoding: 'utf8' })
  if (nft.status === 0) return undefined
  for (const [i, rule] of rules.entries()) {
    const tables = iptables('-A', rule)
    if (tables.status === 0) continue
    for (const added of rules.slice(0, i)) iptables('-D', added)
    const why = (tables.error?.message ?? tables.stderr) || (nft.error?.message ?? nft.stderr)
    return `neither nft nor iptables: ${why.trim().split('\n')[0] ?? ''}`
  }
  return undefined
}

function removeRules(link: string, rules: readonly Rule[]): void {
  const nft = spawnSync('nft', ['delete', 'table', 'ip', tableOf(link)])
  if (nft.status !== 0) for (const rule of rules) iptables('-D', rule)
}

function iptables(action: '-A' | '-D', rule: Rule) {
  const [chain = '', ...rest] = rule.iptables
  const comment = ['-m', 'comment', '--comment', 'lamina']
  return spawnSync('iptables', ['-w', '-t', 'nat', action, chain, ...rest, ...comment], { encoding: 'utf8' })
}

function tableOf(link: string): string {
  return `lamina-${link}`
}
