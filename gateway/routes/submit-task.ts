// POST /v1/tasks

import type Router from '@koa/router'
import { type KeyedRequest, onceOf } from '../../shared/redis-idempotency.ts'
import { viewTask } from '../../shared/task.ts'
import { checkBody } from '../http/checked-request.ts'
import { keyedRequest, markReplayed } from '../http/idempotency-key.ts'
import { readJson } from '../http/request-body.ts'
import { onlyOnce } from '../idempotency.ts'
import { newTaskId, type Submission, submissionSchema } from './submission.ts'
import { type Accepted, accepted, prepare, type SubmitParts } from './submit.ts'

export function submitTaskRoute(router: Router, parts: SubmitParts): void {
  router.post('/v1/tasks', async ctx => {
    const body = await readJson(ctx)
    const submission = checkBody(submissionSchema, body)
    const keyed = keyedRequest(ctx, body)
    const { task, replayed } = await parts.gate.run(() => submitOnce(submission, keyed, parts))
    if (replayed) markReplayed(ctx)
    else parts.metrics.tasksSubmitted.inc({ type: task.type })
    const view = viewTask(task)
    ctx.status = 202
    ctx.set('Location', view.links.self)
    ctx.body = view
  })
}

/** Submits a task; a request with a key becomes one task, however often it comes. */
async function submitOnce(
  submission: Submission,
  keyed: KeyedRequest | null,
  parts: SubmitParts,
): Promise<{ task: Accepted; replayed: boolean }> {
  if (!keyed) {
    const request = await prepare(submission, parts)
    return { task: await parts.queue.submit(request), replayed: false }
  }
  const memo = { id: submission.id ?? newTaskId(), createdAt: Date.now() }
  const { answer, replayed } = await onlyOnce(parts.idempotency, keyed, memo, async ({ id, createdAt }) => {
    const request = await prepare({ ...submission, id }, parts)
    return accepted(await parts.queue.submit(request, { createdAt, once: onceOf(keyed) }))
  })
  return { task: answer, replayed }
}
