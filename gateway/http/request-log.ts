// Measures and logs requests, by the pattern of their route and never by their path.

import type { RouterContext } from '@koa/router'
import type { Context } from 'koa'
import type { Logger } from '../../shared/log.ts'
import type { GatewayMetrics } from '../metrics.ts'
import type { RequestFrame } from './lean-koa.ts'
import { requestIdOf } from './request-id.ts'

export function requestLog(log: Logger, metrics: GatewayMetrics): RequestFrame['answered'] {
  return (ctx, startedAt) => {
    const labels = { method: ctx.method, route: routeOf(ctx), status: String(ctx.res.statusCode) }
    const seconds = (performance.now() - startedAt) / 1000
    metrics.httpRequests.observe(labels, seconds)
    if (log.isLevelEnabled('debug'))
      log.debug({ requestId: requestIdOf(ctx), path: ctx.path, ...labels, seconds }, 'request')
  }
}

function routeOf(ctx: Context): string {
  const pattern = (ctx as unknown as RouterContext)._matchedRoute ?? ctx.state.route
  return pattern === undefined ? 'none' : String(pattern)
}
