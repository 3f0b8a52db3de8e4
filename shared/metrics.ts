// What every process measures. The metrics of gateway and worker stand in their own folders.

import type { Redis } from 'ioredis'
import { collectDefaultMetrics, Gauge, Registry } from 'prom-client'
import { VERSION } from './version.ts'

/**
 * How often the event loop is asked for its delay. With prom-client's 10 ms that was most of what an idle process cost,
 * half a percent of a core.
 */
const LOOP_SAMPLE_MS = 50

/** A registry with Node's default metrics, the build's version and the state of the Redis connection. */
export function createRegistry(redis: Redis): Registry {
  const registry = new Registry()
  collectDefaultMetrics({ register: registry, eventLoopMonitoringPrecision: LOOP_SAMPLE_MS })
  new Gauge({
    name: 'millrace_build_info',
    help: 'Always 1; the label is the version that runs.',
    labelNames: ['version'],
    registers: [registry],
  }).set({ version: VERSION }, 1)
  new Gauge({
    name: 'millrace_redis_connected',
    help: '1 while the command connection to Redis is ready.',
    registers: [registry],
    collect() {
      this.set(redis.status === 'ready' ? 1 : 0)
    },
  })
  return registry
}
