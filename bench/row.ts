/**
 * Owns the words of the benchmark: a row is one number, a group is rows that share a stack of layers, `Bench` is what a
 * group is given to measure them with.
 */
import type { Outcome, WorkName } from './client.js'
import type { Material } from './material.js'
import type { Mounted, Peer } from './peers.js'

export interface Row {
  readonly id: string
  readonly title: string
  readonly unit: 's' | 'µs' | 'MB/s' | 'IOPS' | 'MB' | 'ms'
}

/** Whether more is better. */
export function isRate(row: Row): boolean {
  return row.unit === 'MB/s' || row.unit === 'IOPS'
}

/** What is measured once per peer and repetition, on stacks nobody has used. */
export interface Group {
  readonly name: string
  readonly lowers: 'root' | 'flat' | 'big' | 'toolchain' | 'huge' | 'none'
  readonly rows: readonly Row[]
  /** Peers that cannot do it. */
  readonly without?: readonly string[]
  /** Left out of `--quick`. */
  readonly long?: true
  /** Returns a number per row that it could measure; leaves out what `Bench.wants` does not want, where that saves time. */
  run(bench: Bench): Promise<Readonly<Record<string, number>>>
}

export interface Bench {
  readonly material: Material
  readonly peer: Peer
  /** The mountpoint. */
  readonly point: string
  readonly mounted: Mounted
  readonly mountSeconds: number
  wants(...rows: readonly string[]): boolean
  /** Another stack over the same lowers, mounted too; taken down at the end of the group. */
  another(): Promise<Mounted & { readonly point: string }>
  /** Mounts another such stack by the peer's own command, and takes it down; seconds until the command has ended. */
  command(): Promise<number | undefined>
  /** Seconds until that command, which wants nothing of the mount, has ended. */
  timed(words: readonly string[]): Promise<number>
  /** Unmounts and mounts again; with `'all'` the machine's caches are dropped too. False: it may not drop them. */
  cold(what: 'all' | 'mount'): Promise<boolean>
  /** Until the disk has all that was written. */
  settle(): void
  /**
   * Has memory for the large file at hand, twice over, by one that is written and removed. A virtual machine may be given memory only when it
   * touches it, and have it taken back a minute later: 3 s for each GiB where this was written, in whatever row comes first.
   */
  warm(): void
  /** Remembers what every peer must agree on; throws when one does not. */
  agree(row: string, check: string): void
  /**
   * Does `work` for `row`, and counts what the servers were asked meanwhile: `operations` of them (its result when it is
   * a function), so that requests are told per operation.
   */
  during<T>(row: string, operations: number | ((result: T) => number), work: () => Promise<T> | T): Promise<T>
  /** Runs a client for `row` at `path` (the mountpoint if there is none), counting requests; what it says must be what others say. */
  measured(row: string, work: WorkName, options?: Partial<ClientOptions>): Promise<Outcome>
  /**
   * As `measured`, with the `count` divided among several clients one after another: a round trip costs 18 or 66 µs by
   * where client and server happen to run, and each client is placed anew.
   */
  placed(row: string, work: WorkName, options: Partial<ClientOptions> & { readonly count: number }): Promise<Outcome>
  /** As `measured`, after `cold`. Undefined where caches cannot be dropped. */
  coldly(row: string, work: WorkName, options?: Partial<ClientOptions>): Promise<Outcome | undefined>
}

export type ClientOptions = Omit<import('./client.js').Options, 'from'>

/** Microseconds for each. */
export const each = (outcome: Outcome): number => (outcome.seconds / outcome.count) * 1e6
/** Megabytes a second. */
export const rate = (outcome: Outcome): number => outcome.bytes / outcome.seconds / 1e6
/** Operations a second. */
export const frequency = (outcome: Outcome): number => outcome.count / outcome.seconds
