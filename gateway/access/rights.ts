// What a caller may do, where that takes more than a look at one scope.

import { type FieldError, MillraceError } from '../../shared/errors.ts'
import { taskOfChannel } from '../../shared/event.ts'
import { dottedPath } from '../http/checked-request.ts'
import type { Caller } from './caller.ts'

/** Whether it may watch a channel. Who may read a task may watch it too. */
export function mayWatch({ rights }: Caller, channel: string): boolean {
  if (rights.subscribe.has(channel)) return true
  const taskId = taskOfChannel(channel)
  return taskId !== null && rights['tasks.read'].has(taskId)
}

/** Whether it may watch all channels that fit a pattern. */
export function mayWatchAll({ rights }: Caller, pattern: string): boolean {
  if (rights.subscribe.covers(pattern)) return true
  const ofTasks = taskOfChannel(pattern)
  return ofTasks !== null && rights['tasks.read'].covers(ofTasks)
}

/**
 * Throws `forbidden` unless the caller may submit such a task: its type, its id, and the channels that get a copy of its
 * events, which is as good as to publish to them. `path` is where the submission stands within the body.
 */
export function requireMaySubmit(
  { rights, types }: Caller,
  task: { readonly type: string; readonly id: string; readonly channels?: readonly string[] | undefined },
  path: readonly PropertyKey[] = [],
): void {
  if (!types.has(task.type)) throw lacks('may not submit tasks of this type', [...path, 'type'])
  if (!rights['tasks.write'].has(task.id))
    throw lacks('may not submit a task with this id, or without one', [...path, 'id'])
  task.channels?.forEach((channel, i) => {
    if (!rights.publish.has(channel)) throw lacks('may not publish to this channel', [...path, 'channels', i])
  })
}

/** `forbidden` for one field of a body. */
export function lacks(what: string, path: readonly PropertyKey[]): MillraceError {
  const errors: FieldError[] = [{ path: dottedPath(path), message: `the credential ${what}` }]
  return new MillraceError('forbidden', `${dottedPath(path)}: the credential ${what}`, { errors })
}
