/** Owns a clock that only goes forward. Node's `performance` is loaded when it is first named, in 5 ms; this is there. */

/** Milliseconds since some moment, with fractions. */
export function now(): number {
  const [seconds, nanoseconds] = process.hrtime()
  return seconds * 1000 + nanoseconds / 1e6
}
