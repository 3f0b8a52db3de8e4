// Samples of this process for the demo: what it costs and what it does, every two seconds, by one timer.

import type { Logger } from './log.ts'
import { PROCESS_NAME } from './process-name.ts'
import { SAMPLE_INTERVAL_MS, type SystemChannel } from './system-channel.ts'

/** What a process knows of its own work. */
export interface WorkReading {
  /** Events that it has sent or appended since its start. */
  readonly events: number
  /** What else a sample tells, as it is now. */
  readonly now: Readonly<Record<string, number>>
}

export interface ProcessSamplesParts {
  readonly kind: 'gateway' | 'worker'
  readonly channel: SystemChannel
  readonly read: () => Promise<WorkReading>
  readonly log: Logger
}

export class ProcessSamples {
  readonly #parts: ProcessSamplesParts
  #timer: NodeJS.Timeout | undefined
  #busy = false
  #events = 0
  #cpu = process.cpuUsage()
  #at = performance.now()

  constructor(parts: ProcessSamplesParts) {
    this.#parts = parts
  }

  start(): void {
    this.#timer = setInterval(() => void this.#tell(), SAMPLE_INTERVAL_MS)
  }

  stop(): void {
    clearInterval(this.#timer)
  }

  // While Redis does not answer no second sample is begun.
  async #tell(): Promise<void> {
    if (this.#busy) return
    this.#busy = true
    const { kind, channel, log } = this.#parts
    try {
      await channel.tell(kind, await this.#sample())
    } catch (error) {
      log.debug({ err: error }, 'a sample for the demo was lost')
    } finally {
      this.#busy = false
    }
  }

  async #sample() {
    const { events, now } = await this.#parts.read()
    const at = performance.now()
    const cpu = process.cpuUsage()
    const seconds = (at - this.#at) / 1_000
    const cpuMicros = cpu.user + cpu.system - this.#cpu.user - this.#cpu.system
    const sample = {
      name: PROCESS_NAME,
      pid: process.pid,
      /** Of one core; threads can make it more than 1. */
      cpu: round(cpuMicros / 1_000_000 / seconds, 1_000),
      memoryBytes: process.memoryUsage.rss(),
      eventsPerSecond: round((events - this.#events) / seconds, 10),
      ...now,
    }
    this.#events = events
    this.#cpu = cpu
    this.#at = at
    return sample
  }
}

function round(value: number, parts: number): number {
  return Math.round(value * parts) / parts
}
