// Where clients and publishers go: any gateway that is up, as behind a load balancer.

import { setTimeout as delay } from 'node:timers/promises'
import type { Random } from './random.ts'
import type { Service } from './service.ts'

export interface Gateway {
  /** With its process id, so that its log can be found. */
  readonly name: string
  readonly url: string
}

const LOOK_AGAIN_MS = 50
/** Starting takes a second or two, on a busy machine some more. */
const PATIENCE_MS = 30_000

export class Gateways {
  readonly #services: readonly Service[]

  constructor(services: readonly Service[]) {
    this.#services = services
  }

  /** Waits while none is up; rejects when none comes up. */
  async pick(random: Random): Promise<Gateway> {
    for (let waitedMs = 0; waitedMs < PATIENCE_MS; waitedMs += LOOK_AGAIN_MS) {
      const up = this.#services.flatMap(({ name, url, pid }) =>
        url ? [{ name: `${name} (${pid})`, url }] : [],
      )
      if (up.length > 0) return random.pick(up)
      await delay(LOOK_AGAIN_MS)
    }
    throw new Error(`no gateway was up for ${PATIENCE_MS} ms`)
  }
}
