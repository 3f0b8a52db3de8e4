// Whether this gateway lives, and whether a load balancer should send it requests.

import type { Redis } from 'ioredis'
import type { HealthChecks } from '../shared/ops-server.ts'
import { checkRedis } from '../shared/redis-connection.ts'

interface StreamState {
  /** The gateway ends its streams and takes no more. */
  readonly draining: boolean
  /** Live events reach it. */
  readonly hears: boolean
}

export function gatewayHealth(redis: Redis, streams: StreamState): HealthChecks {
  return {
    // A gateway whose event loop hangs answers nothing at all.
    live: async () => ({ ok: true, problems: [] }),
    ready: async () => {
      if (streams.draining) return { ok: false, problems: ['the gateway is draining'] }
      if (redis.status !== 'ready') return { ok: false, problems: ['Redis is away'] }
      if (!streams.hears) return { ok: false, problems: ['pub/sub does not reach this gateway'] }
      return checkRedis(redis)
    },
  }
}
