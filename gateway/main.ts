// The gateway process. What it is made of, and in which order that starts and stops:
//
//   start                                            stop, in reverse
//   Redis     everything needs it; it is not waited  last, since requests under way need it
//             for longer than a moment
//   ops       health is asked for from now on        readiness says 503 until the end
//   requests                                         those under way are answered, within a bound
//   streams   before the first viewer comes          ended one by one, so that viewers spread over
//                                                    the other gateways
//   listener  last, when all of it can be served     first: nobody new comes in
//   samples   of the demo, where it is on            before all else

import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import type { Redis } from 'ioredis'
import { gatewayConfig } from '../shared/config.ts'
import { parseHttpTargets } from '../shared/http-targets.ts'
import { Lifecycle, runProcess } from '../shared/lifecycle.ts'
import { createLogger } from '../shared/log.ts'
import { createRegistry } from '../shared/metrics.ts'
import { startOpsServer } from '../shared/ops-server.ts'
import { ProcessSamples } from '../shared/process-samples.ts'
import { connectRedis, withTimeout } from '../shared/redis-connection.ts'
import { RedisEventLog } from '../shared/redis-event-log.ts'
import { IdempotencyRecords } from '../shared/redis-idempotency.ts'
import { TaskStore } from '../shared/redis-tasks.ts'
import { Schedules } from '../shared/schedules.ts'
import { SystemChannel } from '../shared/system-channel.ts'
import { TaskQueue } from '../shared/task-queue.ts'
import { Access } from './access/access.ts'
import { createApp } from './app.ts'
import { gatewayHealth } from './health.ts'
import { AllowedOrigins } from './http/allowed-origins.ts'
import { servePages } from './http/pages.ts'
import { InputValidator } from './input-validator.ts'
import { ClientAddresses } from './limits/client-addresses.ts'
import { identifyClients } from './limits/clients.ts'
import { OpenConnections } from './limits/open-connections.ts'
import { limitRate } from './limits/rate-limit.ts'
import { createGatewayMetrics, readWork } from './metrics.ts'
import { RedisGate } from './redis-gate.ts'
import { GatewayServer, SERVER_LIMITS } from './server.ts'
import { EventStreams } from './stream/event-streams.ts'
import { TaskTypeCache } from './task-type-cache.ts'

/** The start waits this long for Redis, so that the first requests meet it; past it the gateway starts without. */
const REDIS_WAIT_MS = 1_000

/** Connections that a gateway takes beyond those of its streams. */
const CONNECTIONS_FOR_REQUESTS = 10_000

// By the package's own name, since the source and the build lie at different depths.
const require = createRequire(import.meta.url)
const PAGES = join(dirname(require.resolve('millrace/package.json')), 'web')
/** Out of the package as it is, licence included. */
const VENDORED = {
  '/vendor/uplot/uPlot.esm.js': require.resolve('uplot/dist/uPlot.esm.js'),
  '/vendor/uplot/uPlot.min.css': require.resolve('uplot/dist/uPlot.min.css'),
  '/vendor/uplot/LICENSE': require.resolve('uplot/LICENSE'),
}

runProcess(async () => {
  const config = gatewayConfig()
  const httpTargets = parseHttpTargets(config.MILLRACE_HTTP_TARGETS)
  const origins = new AllowedOrigins(config.MILLRACE_CORS_ORIGINS)
  const logger = createLogger('gateway', config.LOG_LEVEL)
  const lifecycle = new Lifecycle(logger, config.MILLRACE_DRAIN_MS)

  const redis = connectRedis(config.REDIS_URL, 'gateway', logger)
  lifecycle.onStop('redis', async () => redis.disconnect())
  const subscriber = connectRedis(config.REDIS_URL, 'subscriber', logger)
  lifecycle.onStop('subscriber', async () => subscriber.disconnect())

  const clientOf = identifyClients(new ClientAddresses(config.MILLRACE_TRUSTED_PROXIES))
  const { MILLRACE_RATE_LIMIT: requestsPerSecond } = config
  const counter = requestsPerSecond > 0 ? connectRedis(config.REDIS_URL, 'counter', logger) : null
  lifecycle.onStop('counter', async () => counter?.disconnect())

  const registry = createRegistry(redis)
  const metrics = createGatewayMetrics(registry)
  const log = new RedisEventLog(redis, {
    channels: { maxEvents: config.MILLRACE_CHANNEL_MAX_EVENTS, ttlMs: config.MILLRACE_CHANNEL_TTL_MS },
    taskMaxEvents: config.MILLRACE_TASK_MAX_EVENTS,
  })
  const tasks = new TaskStore(redis, log)
  const queue = new TaskQueue(redis, tasks)
  lifecycle.onStop('queue', () => queue.close())
  const schedules = new Schedules(redis)
  lifecycle.onStop('schedules', () => schedules.close())

  const access = new Access(config, redis, logger)
  const openLimits = {
    inAll: config.MILLRACE_MAX_CONNECTIONS,
    ofCaller: config.MILLRACE_MAX_CONNECTIONS_PER_CALLER,
    ofAddress: config.MILLRACE_MAX_CONNECTIONS_PER_ADDRESS,
  }
  const open = new OpenConnections(openLimits, reason => metrics.connectionsRefused.inc({ reason }))
  const streams = new EventStreams({ config, redis, subscriber, log, tasks, open, logger, metrics })
  const health = gatewayHealth(redis, streams)
  const app = createApp({
    gate: new RedisGate(redis),
    log,
    tasks,
    queue,
    idempotency: new IdempotencyRecords(redis),
    ...access.parts,
    schedules,
    types: new TaskTypeCache(redis),
    validator: new InputValidator(logger),
    callbackTargets: config.MILLRACE_WEBHOOK_SECRET === undefined ? null : httpTargets,
    streams,
    health,
    origins,
    clientOf,
    rateLimit: counter && limitRate({ redis: counter, clientOf, requestsPerSecond }),
    pages: await servePages(PAGES, VENDORED),
    metrics,
    logger,
    retainMs: config.MILLRACE_TASK_RETAIN_MS,
    concurrencyPerKey: config.MILLRACE_CONCURRENCY_PER_KEY,
  })
  await Promise.all([untilReady(redis), counter && untilReady(counter)])
  lifecycle.onStop('access', async () => access.stop())
  await access.start()

  const { HOST: host } = config
  const ops = { host, port: config.MILLRACE_OPS_PORT, variable: 'MILLRACE_OPS_PORT' }
  const opsServer = await startOpsServer(ops, registry, health)
  lifecycle.onStop('ops server', () => opsServer.stop())

  const maxConnections = config.MILLRACE_MAX_CONNECTIONS + CONNECTIONS_FOR_REQUESTS
  const server = new GatewayServer(app, { ...SERVER_LIMITS, maxConnections }, () =>
    metrics.connectionsRefused.inc({ reason: 'sockets' }),
  )
  lifecycle.onStop('requests under way', () => server.finish())
  await streams.start()
  lifecycle.onStop('event streams', () => streams.stop())
  const url = await server.start({ host, port: config.PORT })
  lifecycle.onStop('listener', () => server.stopAccepting())
  if (config.MILLRACE_DEMO === 'on') {
    const read = () => readWork(metrics)
    const samples = new ProcessSamples({
      kind: 'gateway',
      channel: new SystemChannel(redis),
      read,
      log: logger,
    })
    samples.start()
    lifecycle.onStop('samples', async () => samples.stop())
  }

  lifecycle.ready('gateway listening', { url, opsUrl: opsServer.url })
})

async function untilReady(redis: Redis): Promise<void> {
  if (redis.status === 'ready') return
  const ready = new Promise<void>(resolve => redis.once('ready', resolve))
  await withTimeout(ready, REDIS_WAIT_MS).catch(() => undefined)
}
