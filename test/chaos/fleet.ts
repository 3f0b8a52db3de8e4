// The processes of a run: Redis, gateways with a breakable way to it, workers; and how each fault is done to them.

import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { type EmbeddedRedis, startEmbeddedRedis } from '../../dev/embedded-redis.ts'
import { startTcpProxy, type TcpProxy } from '../support/tcp-proxy.ts'
import { freezeProcess } from './freeze.ts'
import { FAULTS, type Fault, type FaultKind } from './plan.ts'
import { Service } from './service.ts'

export interface FleetOptions {
  readonly gateways: number
  readonly workers: number
  /** Of the logs and of Redis's data. */
  readonly folder: string
  readonly onSurprise: (text: string) => void
  /** A line of Redis's own output. */
  readonly onRedisOutput: (line: string) => void
}

/** Logs are never trimmed, so that every event can be compared and no gap is in order. */
const LIMITS = { MILLRACE_CHANNEL_MAX_EVENTS: '10000000', MILLRACE_TASK_MAX_EVENTS: '10000000' }
const COMMON = { MILLRACE_OPS_PORT: '0', LOG_LEVEL: 'debug', MILLRACE_DRAIN_MS: '1500', ...LIMITS }
/** A filtered stream's cursor comes with the next heartbeat, and the end of a run waits for it. */
const GATEWAY = { ...COMMON, PORT: '0', MILLRACE_HEARTBEAT_MS: '1000' }
const WORKER = { ...COMMON, MILLRACE_CONCURRENCY: '50' }

/** While a way is blackholed, connections that come up again are swallowed this often. */
const BLACKHOLE_AGAIN_MS = 100

export class Fleet {
  readonly redis: EmbeddedRedis
  /** For faults and for reading the log at the end; by a way that nothing breaks. */
  readonly control: Redis
  readonly gateways: readonly Service[]
  readonly workers: readonly Service[]
  readonly #routes: readonly TcpProxy[]
  readonly #onSurprise: (text: string) => void
  /** By target: done when it has recovered from its last fault. */
  readonly #busy = new Map<string, Promise<void>>()

  static async start(options: FleetOptions): Promise<Fleet> {
    const dir = join(options.folder, 'redis')
    const redis = await startEmbeddedRedis({ dir, appendFsync: 'always', onOutput: options.onRedisOutput })
    const routes = await Promise.all(
      Array.from({ length: options.gateways }, () => startTcpProxy(redis.port)),
    )
    const fleet = new Fleet(options, redis, routes)
    try {
      // Gateways learn the types of tasks from workers.
      await Promise.all(fleet.workers.map(worker => worker.start()))
      await Promise.all(fleet.gateways.map(gateway => gateway.start()))
      return fleet
    } catch (error) {
      await fleet.close()
      throw error
    }
  }

  private constructor(options: FleetOptions, redis: EmbeddedRedis, routes: readonly TcpProxy[]) {
    const { folder, onSurprise } = options
    this.redis = redis
    this.control = new Redis(redis.url, { maxRetriesPerRequest: null, retryStrategy: () => 50 })
    this.control.on('error', () => undefined)
    this.#routes = routes
    this.#onSurprise = onSurprise
    this.gateways = routes.map(({ port }, i) => {
      const env = { ...GATEWAY, REDIS_URL: `redis://127.0.0.1:${port}` }
      const logFile = join(folder, `gateway-${i + 1}.log`)
      return new Service({
        name: `gateway ${i + 1}`,
        script: 'dist/gateway/main.js',
        env,
        logFile,
        onSurprise,
      })
    })
    this.workers = Array.from({ length: options.workers }, (_, i) => {
      const env = { ...WORKER, REDIS_URL: redis.url }
      const logFile = join(folder, `worker-${i + 1}.log`)
      return new Service({ name: `worker ${i + 1}`, script: 'dist/worker/main.js', env, logFile, onSurprise })
    })
  }

  /** Does a fault as soon as its target has recovered from the one before. */
  inflict(fault: Fault, onBegin: () => void): void {
    const target = `${FAULTS[fault.kind].target} ${fault.index}`
    const done = (this.#busy.get(target) ?? Promise.resolve())
      .then(() => {
        onBegin()
        return this.#does[fault.kind](fault)
      })
      .catch(error => this.#onSurprise(`${fault.kind} ${fault.index + 1} went wrong: ${error}`))
    this.#busy.set(target, done)
  }

  /** Resolves when everything runs again. */
  async recovered(): Promise<void> {
    await Promise.all(this.#busy.values())
    await this.control.ping()
  }

  /** Gateways lose what is published until they have subscribed again. */
  cutPubSub(): Promise<void> {
    return this.#cut('pubsub')
  }

  /** Ends everything at once. */
  async close(): Promise<void> {
    this.control.disconnect()
    await Promise.all([...this.gateways, ...this.workers].map(service => service.end('SIGKILL')))
    await Promise.all(this.#routes.map(route => route.close()))
    await this.redis.kill()
  }

  readonly #does: Record<FaultKind, (fault: Fault) => Promise<void>> = {
    'kill gateway': fault => replace(this.gateways[fault.index]!, 'SIGKILL', fault),
    'stop gateway': fault => replace(this.gateways[fault.index]!, 'SIGTERM', fault),
    'freeze gateway': ({ index, durationMs }) => this.gateways[index]!.freeze(durationMs),
    'blackhole gateway from Redis': ({ index, durationMs }) => blackhole(this.#routes[index]!, durationMs),
    'cut pub/sub connections': () => this.cutPubSub(),
    'cut command connections': () => this.#cut('normal'),
    'freeze Redis': ({ durationMs }) => freezeProcess(this.redis.pid, durationMs),
    'kill Redis': async ({ durationMs }) => {
      await this.redis.kill()
      await delay(durationMs)
      await this.redis.restart()
    },
    'kill worker': fault => replace(this.workers[fault.index]!, 'SIGKILL', fault),
    'stop worker': fault => replace(this.workers[fault.index]!, 'SIGTERM', fault),
    'freeze worker': ({ index, durationMs }) => this.workers[index]!.freeze(durationMs),
  }

  /** All but the connection that asks for it. */
  async #cut(type: 'pubsub' | 'normal'): Promise<void> {
    await this.control.call('CLIENT', 'KILL', 'TYPE', type)
  }
}

async function replace(
  service: Service,
  signal: 'SIGKILL' | 'SIGTERM',
  { durationMs }: Fault,
): Promise<void> {
  await service.end(signal)
  await delay(durationMs)
  await service.start()
}

async function blackhole(route: TcpProxy, durationMs: number): Promise<void> {
  const end = performance.now() + durationMs
  for (route.blackhole(); performance.now() < end; route.blackhole()) await delay(BLACKHOLE_AGAIN_MS)
}
