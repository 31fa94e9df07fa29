/**
 * Owns the way out for a network: forwarding on, and its addresses hidden behind the host's. By nft, else iptables,
 * whichever is there. Format: one nft table `lamina-<link>` per network, so that its end is one command.
 */
import { spawnSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { RuntimeError } from '../error.js'
import type { Network } from './networks.js'

const FORWARD = '/proc/sys/net/ipv4/ip_forward'

/** Throws UNSUPPORTED where neither nft nor iptables can do it. */
export function masquerade(network: Network): void {
  if (readFileSync(FORWARD, 'latin1').trim() !== '1') writeFileSync(FORWARD, '1')
  const net = `${network.subnet}/${network.prefix}`
  const table = tableOf(network)
  const rules = [
    `table ip ${table} {`,
    ' chain postrouting {',
    '  type nat hook postrouting priority srcnat; policy accept;',
    `  ip saddr ${net} oifname != "${network.link}" masquerade`,
    ' }',
    '}',
  ].join('\n')
  const nft = spawnSync('nft', ['-f', '-'], { input: `${rules}\n`, encoding: 'utf8' })
  if (nft.status === 0) return
  const tables = spawnSync('iptables', ['-w', '-t', 'nat', ...ruleOf('-A', network)], { encoding: 'utf8' })
  if (tables.status === 0) return
  const why = (tables.error?.message ?? tables.stderr) || (nft.error?.message ?? nft.stderr)
  throw new RuntimeError(
    'UNSUPPORTED',
    `network ${network.name}: neither nft nor iptables: ${why.trim().split('\n')[0] ?? ''}`,
  )
}

export function unmasquerade(network: Network): void {
  const nft = spawnSync('nft', ['delete', 'table', 'ip', tableOf(network)])
  if (nft.status !== 0) spawnSync('iptables', ['-w', '-t', 'nat', ...ruleOf('-D', network)])
}

function tableOf(network: Network): string {
  return `lamina-${network.link}`
}

function ruleOf(action: '-A' | '-D', { subnet, prefix, link }: Network): string[] {
  return [
    action,
    'POSTROUTING',
    '-s',
    `${subnet}/${prefix}`,
    '!',
    '-o',
    link,
    '-j',
    'MASQUERADE',
    '-m',
    'comment',
    '--comment',
    'lamina',
  ]
}
