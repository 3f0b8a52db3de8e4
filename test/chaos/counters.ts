// The gateways' own counters, summed over all of their lives. What a killed process counted since the last look
// is lost.

import { setTimeout as delay } from 'node:timers/promises'
import type { Service } from './service.ts'

const LOOK_MS = 500
const TIMEOUT_MS = 400
const COUNTER = /^millrace_(catchups|gaps|events_sent|sse_connections_closed)_total\{\w+="(\w+)"\} (\d+)/gm

export type CounterName = 'catchups' | 'gaps' | 'events_sent' | 'sse_connections_closed'

export class Counters {
  readonly #gateways: readonly Service[]
  /** By process, then by `<counter> <label>`. */
  readonly #byProcess = new Map<number, ReadonlyMap<string, number>>()

  constructor(gateways: readonly Service[]) {
    this.#gateways = gateways
  }

  async run(stop: AbortSignal): Promise<void> {
    while (!stop.aborted) {
      await this.look()
      await delay(LOOK_MS)
    }
  }

  async look(): Promise<void> {
    await Promise.all(this.#gateways.map(gateway => this.#lookAt(gateway)))
  }

  /** `connect 12, gap 3`; `none` where nothing was counted. */
  describe(counter: CounterName): string {
    const sums = new Map<string, number>()
    for (const counts of this.#byProcess.values()) {
      for (const [key, count] of counts) {
        const [name, label = ''] = key.split(' ')
        if (name === counter) sums.set(label, (sums.get(label) ?? 0) + count)
      }
    }
    return [...sums].map(([label, count]) => `${label} ${count}`).join(', ') || 'none'
  }

  async #lookAt({ opsUrl, pid }: Service): Promise<void> {
    if (!opsUrl || pid === null) return
    try {
      const response = await fetch(`${opsUrl}/metrics`, { signal: AbortSignal.timeout(TIMEOUT_MS) })
      const text = await response.text()
      const counts = [...text.matchAll(COUNTER)].map(
        ([, name, label, count]) => [`${name} ${label}`, Number(count)] as const,
      )
      this.#byProcess.set(pid, new Map(counts))
    } catch {
      // Killed or frozen; the last look stands.
    }
  }
}
