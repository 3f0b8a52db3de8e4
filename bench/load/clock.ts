// The clock of a measurement.

/** Microseconds since 1970, comparable between the processes of one machine. */
export function nowUs(): number {
  return Math.round((performance.timeOrigin + performance.now()) * 1000)
}
