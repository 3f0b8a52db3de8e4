// GET /v1/tasks/{id}

import type Router from '@koa/router'
import type { Context } from 'koa'
import { MillraceError } from '../../shared/errors.ts'
import type { TaskStore } from '../../shared/redis-tasks.ts'
import { isTerminal, TASK_ID } from '../../shared/task.ts'
import { callerOf } from '../access/caller.ts'
import type { Tickets } from '../access/tickets.ts'
import { answerJson } from '../http/answer.ts'
import { preferredWait } from '../http/prefer-wait.ts'
import type { ClientOf } from '../limits/clients.ts'
import type { RedisGate } from '../redis-gate.ts'
import type { EventStreams } from '../stream/event-streams.ts'

interface ReadParts {
  readonly gate: RedisGate
  readonly tasks: TaskStore
  readonly streams: EventStreams
  readonly tickets: Tickets
  readonly clientOf: ClientOf
}

export function readTaskRoute(router: Router, { gate, tasks, streams, tickets, clientOf }: ReadParts): void {
  const read = async (id: string) => {
    const task = await gate.run(() => tasks.load(id))
    if (!task) throw unknownTask()
    return task
  }
  const hasEnded = async (id: string) => {
    const task = await gate.run(() => tasks.loadState(id))
    return task === null || isTerminal(task.state)
  }
  router.get('/v1/tasks/:id', async ctx => {
    const id = taskIdOf(ctx.params)
    const waitSeconds = preferredWait(ctx)
    let task = await read(id)
    if (waitSeconds && !isTerminal(task.state)) {
      // What happens after the end of its credential is not for the caller.
      const lifeMs = (callerOf(ctx).expiresAt ?? Infinity) - Date.now()
      await streams.waits.untilEnded(id, {
        client: clientOf(ctx),
        timeoutMs: Math.min(waitSeconds * 1_000, lifeMs),
        signal: whileWaited(ctx),
        hasEnded: () => hasEnded(id),
      })
      task = await read(id)
    }
    if (waitSeconds !== null && isTerminal(task.state)) ctx.set('Preference-Applied', `wait=${waitSeconds}`)
    answerJson(ctx, 200, tickets.viewTask(ctx, task))
  })
}

/** Aborts when the client leaves without its answer. */
function whileWaited({ res }: Context): AbortSignal {
  const left = new AbortController()
  res.once('close', () => left.abort())
  if (res.destroyed) left.abort()
  return left.signal
}

/** The task id of a path; one that no task can have is not found, like any other. */
export function taskIdOf(params: Record<string, string | undefined>): string {
  const id = params.id ?? ''
  if (!TASK_ID.test(id)) throw unknownTask()
  return id
}

export function unknownTask(): MillraceError {
  return new MillraceError('task-not-found', 'no task has this id, or it is no longer retained')
}
