// POST /v1/tasks

import type Router from '@koa/router'
import { callerOf } from '../access/caller.ts'
import { checkBody } from '../http/checked-request.ts'
import { keyedRequest } from '../http/idempotency-key.ts'
import { readJson } from '../http/request-body.ts'
import { submissionSchema } from './submission.ts'
import { prepare, type SubmitParts, submitTask } from './submit.ts'

export function submitTaskRoute(router: Router, parts: SubmitParts): void {
  router.post('/v1/tasks', async ctx => {
    const body = await readJson(ctx)
    const submission = checkBody(submissionSchema, body)
    await submitTask(
      ctx,
      keyedRequest(ctx, () => body),
      parts,
      id => prepare(submission, id, callerOf(ctx), parts),
    )
  })
}
