// GET /health/live and /health/ready, as on the ops port.

import type Router from '@koa/router'
import type { Context } from 'koa'
import { type Health, type HealthChecks, healthBody } from '../../shared/ops-server.ts'

export function healthRoutes(router: Router, checks: HealthChecks): void {
  router.get('/health/live', async ctx => answer(ctx, await checks.live()))
  router.get('/health/ready', async ctx => answer(ctx, await checks.ready()))
}

function answer(ctx: Context, health: Health): void {
  ctx.status = health.ok ? 200 : 503
  ctx.body = healthBody(health)
}
