// GET /v1/task-types

import type Router from '@koa/router'
import { answerJson } from '../http/answer.ts'
import type { RedisGate } from '../redis-gate.ts'
import type { TaskTypeCache } from '../task-type-cache.ts'

export function taskTypesRoute(
  router: Router,
  { gate, types }: { gate: RedisGate; types: TaskTypeCache },
): void {
  router.get('/v1/task-types', async ctx => {
    answerJson(ctx, 200, { types: await gate.run(() => types.list()) })
  })
}
