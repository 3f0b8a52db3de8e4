/** Finds the processes that descend from one that was started with a mark in its environment. */
import { randomUUID } from 'node:crypto'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'

const NAME = 'MILLRACE_TEST_MARK'
const WAIT_MS = 30_000

/** Where there is no /proc, nobody can be found. */
export const canFindProcesses = existsSync('/proc/self/environ')

export interface Mark {
  /** To be added to the environment of the first process. */
  env: Record<string, string>
  /** Those alive now. */
  processes(): { pid: number; command: string }[]
  /** Rejects, naming those that are left, if they don't all end. */
  untilGone(): Promise<void>
}

export function markProcesses(): Mark {
  const value = randomUUID()
  const processes = () =>
    readdirSync('/proc')
      .filter(name => /^\d+$/.test(name) && read(name, 'environ').includes(`${NAME}=${value}`))
      .map(name => ({ pid: Number(name), command: read(name, 'cmdline').replaceAll('\0', ' ') }))
  const untilGone = async () => {
    const deadline = Date.now() + WAIT_MS
    while (processes().length > 0) {
      if (Date.now() > deadline) throw new Error(`left behind: ${JSON.stringify(processes())}`)
      await delay(20)
    }
  }
  return { env: { [NAME]: value }, processes, untilGone }
}

/** '' for one that has just gone, and for a zombie. */
function read(pid: string, file: string): string {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'utf8')
  } catch {
    return ''
  }
}
