// Whether this gateway lives, and whether a load balancer should send it requests.

import type { Redis } from 'ioredis'
import type { HealthChecks } from '../shared/ops-server.ts'
import { checkRedis } from '../shared/redis-connection.ts'

/** `draining` says that the gateway ends its streams and takes no more. */
export function gatewayHealth(redis: Redis, draining: () => boolean): HealthChecks {
  return {
    // A gateway whose event loop hangs answers nothing at all.
    live: async () => ({ ok: true, problems: [] }),
    ready: async () => {
      if (draining()) return { ok: false, problems: ['the gateway is draining'] }
      if (redis.status !== 'ready') return { ok: false, problems: ['Redis is away'] }
      return checkRedis(redis)
    },
  }
}
