// GET /health/live and /health/ready, as on the ops port.

import type Router from '@koa/router'
import type { Context } from 'koa'
import { type Health, type HealthChecks, healthBody } from '../../shared/ops-server.ts'
import { answerJson } from '../http/answer.ts'

export function healthRoutes(router: Router, checks: HealthChecks): void {
  router.get('/health/live', async ctx => answer(ctx, await checks.live()))
  router.get('/health/ready', async ctx => answer(ctx, await checks.ready()))
}

function answer(ctx: Context, health: Health): void {
  answerJson(ctx, health.ok ? 200 : 503, healthBody(health))
}
