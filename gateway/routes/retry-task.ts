// POST /v1/tasks/{id}/retry

import type Router from '@koa/router'
import { z } from 'zod'
import { MillraceError } from '../../shared/errors.ts'
import type { TaskStore } from '../../shared/redis-tasks.ts'
import { isTerminal, type TaskRecord } from '../../shared/task.ts'
import { callerOf } from '../access/caller.ts'
import { requireMaySubmit } from '../access/rights.ts'
import { checkBody } from '../http/checked-request.ts'
import { keyedRequest } from '../http/idempotency-key.ts'
import { readOptionalJson } from '../http/request-body.ts'
import { checkSubmission } from './check-submission.ts'
import { taskIdOf, unknownTask } from './read-task.ts'
import { retryRequest } from './submission.ts'
import { type SubmitParts, submitTask } from './submit.ts'

const bodySchema = z.strictObject({})

/** Runs a task that ended without success again, as a new one. */
export function retryTaskRoute(router: Router, parts: SubmitParts & { readonly tasks: TaskStore }): void {
  router.post('/v1/tasks/:id/retry', async ctx => {
    const retryOf = taskIdOf(ctx.params)
    checkBody(bodySchema.default({}), await readOptionalJson(ctx))
    await submitTask(
      ctx,
      keyedRequest(ctx, () => null),
      parts,
      async id => {
        const task = await parts.tasks.load(retryOf)
        if (!task) throw unknownTask()
        checkRetryable(task)
        const request = retryRequest(task, id)
        requireMaySubmit(callerOf(ctx), request)
        // Its schema may have changed since, and where callbacks may go.
        await checkSubmission(request, parts)
        return request
      },
    )
  })
}

function checkRetryable({ state }: TaskRecord): void {
  if (isTerminal(state) && state !== 'completed') return
  const why = state === 'completed' ? 'the task was completed' : `the task has not ended: it is ${state}`
  throw new MillraceError('not-retryable', why)
}
