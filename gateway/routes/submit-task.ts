// POST /v1/tasks

import type Router from '@koa/router'
import { MillraceError } from '../../shared/errors.ts'
import { type TaskRecord, viewTask } from '../../shared/task.ts'
import type { TaskQueue } from '../../shared/task-queue.ts'
import type { TaskType } from '../../shared/task-types.ts'
import { checkBody, invalid } from '../http/checked-request.ts'
import { readJson } from '../http/request-body.ts'
import type { InputValidator } from '../input-validator.ts'
import type { GatewayMetrics } from '../metrics.ts'
import type { RedisGate } from '../redis-gate.ts'
import type { TaskTypeCache } from '../task-type-cache.ts'
import { type Submission, submissionSchema, taskRequest } from './submission.ts'

/** Names that the refusal of an unknown type lists at most. */
const MAX_LISTED_TYPES = 20

export interface SubmitParts {
  readonly gate: RedisGate
  readonly types: TaskTypeCache
  readonly validator: InputValidator
  readonly queue: TaskQueue
  readonly metrics: GatewayMetrics
  /** How long a task stays after its end, unless it says otherwise. */
  readonly retainMs: number
}

export function submitTaskRoute(router: Router, parts: SubmitParts): void {
  router.post('/v1/tasks', async ctx => {
    const submission = checkBody(submissionSchema, await readJson(ctx))
    const task = await parts.gate.run(() => submit(submission, parts))
    parts.metrics.tasksSubmitted.inc({ type: task.type })
    const view = viewTask(task)
    ctx.status = 202
    ctx.set('Location', view.links.self)
    ctx.body = view
  })
}

async function submit(submission: Submission, parts: SubmitParts): Promise<TaskRecord> {
  const type = await parts.types.find(submission.type)
  if (!type) throw unknownType(await parts.types.list())
  const faults = type.inputSchema ? parts.validator.check(type.type, type.inputSchema, submission.input) : []
  if (faults.length > 0) throw invalid('invalid-input', faults)
  return parts.queue.submit(taskRequest(submission, type, parts.retainMs))
}

function unknownType(types: readonly TaskType[]): MillraceError {
  const names = types.slice(0, MAX_LISTED_TYPES).map(({ type }) => type)
  const more = types.length > names.length ? ', …' : ''
  const known = names.length === 0 ? 'no worker has announced any' : `known are ${names.join(', ')}${more}`
  const message = `no worker runs this type; ${known}`
  return new MillraceError('unknown-task-type', `type: ${message}`, { errors: [{ path: 'type', message }] })
}
