/**
 * Owns ids and names of containers: 64 hex digits, and `adjective_surname` when the user gives none.
 * Invariant: a name is what Docker takes as one: a letter or digit, then letters, digits, `_.-`.
 */
import { randomBytes, randomInt } from 'node:crypto'
import { RuntimeError } from './error.js'

const adjectives = (
  'agile amber ardent astute bold brave bright brisk calm candid careful clever cordial curious daring deft eager earnest ' +
  'fair fearless fine fond frank gentle glad graceful happy hardy honest humble jolly keen kind lively loyal lucid merry ' +
  'modest noble patient placid plucky polite proud quick quiet ready serene sharp silent sincere smart steady stoic sunny ' +
  'swift tender tidy tranquil upbeat vivid warm wise witty zealous'
).split(' ')

const surnames = (
  'abel ampere archimedes babbage banach bell bernoulli bohr boole bose brahe cantor carson cauchy cavendish chandra ' +
  'curie darwin descartes dijkstra dirac einstein erdos euclid euler faraday fermat fermi feynman fourier franklin galileo ' +
  'galois gauss goedel goodall hamilton hawking heisenberg hertz hilbert hopper hubble hypatia jacobi joule kepler ' +
  'knuth kovalevskaya lagrange lamport laplace leibniz liskov lovelace maxwell mendel mendeleev mirzakhani newton nightingale ' +
  'noether pascal pasteur planck poincare ptolemy ramanujan riemann ritchie rosalind rubin sagan shannon tesla thompson ' +
  'torvalds turing volta wiles wing wozniak yalow'
).split(' ')

export function newId(): string {
  return randomBytes(32).toString('hex')
}

/** A random name that `taken` does not have. */
export function newName(taken: (name: string) => boolean): string {
  for (let tries = 0; ; tries++) {
    const pick = (list: readonly string[]): string => list[randomInt(list.length)] as string
    const name = `${pick(adjectives)}_${pick(surnames)}${tries > 5 ? randomInt(10 ** Math.min(9, tries - 4)) : ''}`
    if (!taken(name)) return name
  }
}

/** Throws INVALID unless `name` can be a container's, volume's or network's. */
export function checkName(kind: string, name: string): string {
  if (!/^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}$/.test(name))
    throw new RuntimeError(
      'INVALID',
      `${kind} name '${name}': only letters, digits, '_', '.', '-', at most 128, no '-' first`,
    )
  return name
}
