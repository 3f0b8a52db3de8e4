// GET /v1/tasks/{id}

import type Router from '@koa/router'
import { MillraceError } from '../../shared/errors.ts'
import type { TaskStore } from '../../shared/redis-tasks.ts'
import { TASK_ID, viewTask } from '../../shared/task.ts'
import type { RedisGate } from '../redis-gate.ts'

export function readTaskRoute(router: Router, { gate, tasks }: { gate: RedisGate; tasks: TaskStore }): void {
  router.get('/v1/tasks/:id', async ctx => {
    const id = taskIdOf(ctx.params)
    const task = await gate.run(() => tasks.load(id))
    if (!task) throw unknownTask()
    ctx.body = viewTask(task)
  })
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
