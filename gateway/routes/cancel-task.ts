// POST /v1/tasks/{id}/cancel

import type Router from '@koa/router'
import { z } from 'zod'
import type { TaskStore } from '../../shared/redis-tasks.ts'
import { isTerminal, type TaskRecord } from '../../shared/task.ts'
import type { TaskQueue } from '../../shared/task-queue.ts'
import type { Tickets } from '../access/tickets.ts'
import { answerJson } from '../http/answer.ts'
import { checkBody } from '../http/checked-request.ts'
import { readOptionalJson } from '../http/request-body.ts'
import type { RedisGate } from '../redis-gate.ts'
import { taskIdOf, unknownTask } from './read-task.ts'

const bodySchema = z.strictObject({ reason: z.string().max(1_000).optional() })

export interface CancelParts {
  readonly gate: RedisGate
  readonly tasks: TaskStore
  readonly queue: TaskQueue
  readonly tickets: Tickets
}

/** 202 when the cancellation was accepted, 200 when the task had ended before. */
export function cancelTaskRoute(router: Router, { gate, tasks, queue, tickets }: CancelParts): void {
  router.post('/v1/tasks/:id/cancel', async ctx => {
    const id = taskIdOf(ctx.params)
    const { reason } = checkBody(bodySchema.default({}), await readOptionalJson(ctx))
    const { status, task } = await gate.run(async () => {
      const before = await tasks.load(id)
      if (before && isTerminal(before.state)) return { status: 200, task: before }
      return { status: 202, task: before && (await queue.cancel(id, reason)) }
    })
    if (!task) throw unknownTask()
    answerJson(ctx, status, tickets.viewTask(ctx, task satisfies TaskRecord))
  })
}
