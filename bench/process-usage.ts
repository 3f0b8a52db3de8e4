// What a process costs, as Linux counts it.

import { readdirSync, readFileSync } from 'node:fs'

/**
 * CPU time so far in µs, user and system, of all threads that live: `man 5 proc`, /proc/pid/stat, counts it in steps
 * of 10 ms, which a turn of a quarter of a second is too short for; the first number of schedstat is in ns.
 */
export function cpuUs(pid: number): number {
  const tasks = `/proc/${pid}/task`
  return readdirSync(tasks).reduce((sum, task) => sum + threadNs(`${tasks}/${task}/schedstat`), 0) / 1_000
}

/** 0 where the thread has just ended. */
function threadNs(path: string): number {
  try {
    return Number(readFileSync(path, 'latin1').split(' ', 1)[0])
  } catch {
    return 0
  }
}

/** Resident memory. */
export function residentBytes(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, 'latin1')
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1]) * 1024
}
