// What a process costs, as Linux counts it.

import { readFileSync } from 'node:fs'

/** `man 5 proc`: utime and stime are counted in ticks of sysconf(_SC_CLK_TCK), which Linux fixes at 100 a second. */
const MS_PER_TICK = 10

/** CPU time so far, user and system, all threads. */
export function cpuMs(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
  // The second field is the program's name in brackets, which may itself hold blanks and brackets.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return (Number(fields[11]) + Number(fields[12])) * MS_PER_TICK
}

/** Resident memory. */
export function residentBytes(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, 'latin1')
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1]) * 1024
}
