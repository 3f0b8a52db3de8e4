// The Koa application: what every request passes through, and the routes.

import { METHODS } from 'node:http'
import Router from '@koa/router'
import type Koa from 'koa'
import type { Middleware } from 'koa'
import type { EventLog } from '../shared/event-log.ts'
import type { HttpTarget } from '../shared/http-targets.ts'
import type { Logger } from '../shared/log.ts'
import type { HealthChecks } from '../shared/ops-server.ts'
import type { IdempotencyRecords } from '../shared/redis-idempotency.ts'
import type { TaskStore } from '../shared/redis-tasks.ts'
import type { Schedules } from '../shared/schedules.ts'
import type { TaskQueue } from '../shared/task-queue.ts'
import { authenticate } from './access/authenticate.ts'
import type { Credentials } from './access/credentials.ts'
import { guardRoutes, requireRules } from './access/rules.ts'
import type { SubscriberTokens } from './access/subscriber-tokens.ts'
import type { Tickets } from './access/tickets.ts'
import type { AllowedOrigins } from './http/allowed-origins.ts'
import { answerProblem, answerUnanswered } from './http/answer-problems.ts'
import { cors } from './http/cors.ts'
import { directRoutes } from './http/direct-routes.ts'
import { LeanKoa } from './http/lean-koa.ts'
import { refuseCrossSite } from './http/refuse-cross-site.ts'
import { assignRequestId } from './http/request-id.ts'
import { requestLog } from './http/request-log.ts'
import type { InputValidator } from './input-validator.ts'
import type { ClientOf } from './limits/clients.ts'
import type { RateLimit } from './limits/rate-limit.ts'
import type { GatewayMetrics } from './metrics.ts'
import type { RedisGate } from './redis-gate.ts'
import { cancelTaskRoute } from './routes/cancel-task.ts'
import { eventStreamRoutes } from './routes/event-streams.ts'
import { healthRoutes } from './routes/health.ts'
import { listTasksRoute } from './routes/list-tasks.ts'
import { publishEventsRoute } from './routes/publish-events.ts'
import { readTaskRoute } from './routes/read-task.ts'
import { retryTaskRoute } from './routes/retry-task.ts'
import { scheduleRoutes } from './routes/schedules.ts'
import type { TaskDefaults } from './routes/submission.ts'
import { submitBatchRoute } from './routes/submit-batch.ts'
import { submitTaskRoute } from './routes/submit-task.ts'
import { taskTypesRoute } from './routes/task-types.ts'
import { tokensRoute } from './routes/tokens.ts'
import type { EventStreams } from './stream/event-streams.ts'
import type { TaskTypeCache } from './task-type-cache.ts'

export interface AppParts extends TaskDefaults {
  readonly gate: RedisGate
  readonly log: EventLog
  readonly tasks: TaskStore
  readonly queue: TaskQueue
  readonly idempotency: IdempotencyRecords
  /** By which callers are known; null = everybody may do everything. */
  readonly credentials: Credentials | null
  readonly tickets: Tickets
  readonly tokens: SubscriberTokens
  readonly schedules: Schedules
  readonly types: TaskTypeCache
  readonly validator: InputValidator
  readonly callbackTargets: readonly HttpTarget[] | null
  readonly streams: EventStreams
  readonly health: HealthChecks
  readonly origins: AllowedOrigins
  readonly clientOf: ClientOf
  /** Null where any rate will do. */
  readonly rateLimit: RateLimit | null
  readonly pages: Middleware
  readonly metrics: GatewayMetrics
  readonly logger: Logger
}

export function createApp(parts: AppParts): Koa {
  const { logger, metrics } = parts
  const app = new LeanKoa({
    before: assignRequestId,
    after: answerUnanswered,
    failed: (ctx, error) => answerProblem(ctx, error, logger),
    answered: requestLog(logger, metrics),
  })
  const router = createRouter(parts)
  if (!parts.origins.none) app.use(cors(parts.origins))
  app.use(refuseCrossSite(parts.origins))
  if (parts.credentials) {
    if (parts.rateLimit) app.use(parts.rateLimit.strangers)
    app.use(authenticate(parts.credentials, parts.origins))
    guardRoutes(router)
  }
  if (parts.rateLimit) app.use(parts.rateLimit.requests)
  app.use(directRoutes(router))
  app.use(router.routes())
  app.use(router.allowedMethods())
  app.use(parts.pages)
  // Refusals are answered above; what comes here is a client that went away in the middle.
  app.on('error', error => parts.logger.debug({ err: error }, 'a response broke off'))
  return app
}

/** All routes. Throws where one has no rule that says who may use it. */
export function createRouter(parts: AppParts): Router {
  // With every method known, one that a path does not take is 405 and never 501.
  const router = new Router({ sensitive: true, methods: METHODS })
  submitTaskRoute(router, parts)
  submitBatchRoute(router, parts)
  listTasksRoute(router, parts)
  readTaskRoute(router, parts)
  cancelTaskRoute(router, parts)
  retryTaskRoute(router, parts)
  scheduleRoutes(router, parts)
  publishEventsRoute(router, parts)
  eventStreamRoutes(router, parts)
  taskTypesRoute(router, parts)
  tokensRoute(router, parts)
  healthRoutes(router, parts.health)
  requireRules(router)
  return router
}
