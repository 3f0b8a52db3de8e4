// The three event streams: of a task, of a channel, of several channels; and their history as JSON.

import type { Router } from '@koa/router'
import type { Context } from 'koa'
import { z } from 'zod'
import { MillraceError } from '../../shared/errors.ts'
import { CHANNEL_NAME, taskChannel, taskOfChannel } from '../../shared/event.ts'
import type { EventLog } from '../../shared/event-log.ts'
import type { TaskStore } from '../../shared/redis-tasks.ts'
import { TASK_ID } from '../../shared/task.ts'
import { callerOf } from '../access/caller.ts'
import { answerJson, commonHead } from '../http/answer.ts'
import { checkQuery, invalid, queryInteger } from '../http/checked-request.ts'
import type { ClientOf } from '../limits/clients.ts'
import type { RedisGate } from '../redis-gate.ts'
import { type CursorCodec, singleCursor, vectorCursor } from '../stream/cursor.ts'
import type { EventStreams } from '../stream/event-streams.ts'
import { readHistory } from '../stream/history.ts'

/** Channels of one connection at most. */
const MAX_CHANNELS = 50
const MAX_TYPES = 50
const MAX_HISTORY = 1_000
/** Events before the end that a stream may begin with, of each channel. */
const MAX_LAST = 10_000

const cursor = z.string().max(4_096).optional()
const query = z.object({
  after: cursor,
  lastEventId: cursor,
  from: z.enum(['earliest', 'latest']).optional(),
  last: queryInteger(0, MAX_LAST).optional(),
  types: z
    .string()
    .transform(text => text.split(',').filter(type => type !== ''))
    .pipe(z.array(z.string()).min(1).max(MAX_TYPES))
    .optional(),
  named: z.enum(['true', 'false']).optional(),
  limit: queryInteger(1, MAX_HISTORY).default(100),
})

interface Dependencies {
  readonly streams: EventStreams
  readonly log: EventLog
  readonly tasks: TaskStore
  readonly gate: RedisGate
  readonly clientOf: ClientOf
}

export function eventStreamRoutes(router: Router, dependencies: Dependencies): void {
  router.get('/v1/tasks/:id/events', ctx => {
    const id = ctx.params.id ?? ''
    if (!TASK_ID.test(id)) throw new MillraceError('task-not-found', 'there is no such task')
    return answer(ctx, dependencies, singleCursor(taskChannel(id)), false)
  })
  router.get('/v1/channels/:channel/events', ctx => {
    const channel = checkChannel(ctx.params.channel ?? '')
    return answer(ctx, dependencies, singleCursor(channel), false)
  })
  router.get('/v1/events', ctx => {
    const channels = new URLSearchParams(ctx.querystring).getAll('channel').map(checkChannel)
    const codec = vectorCursor(channels)
    if (codec.channels.length === 0 || codec.channels.length > MAX_CHANNELS) {
      throw invalid('invalid-query', [{ path: 'channel', message: `name 1 to ${MAX_CHANNELS} channels` }])
    }
    return answer(ctx, dependencies, codec, true)
  })
}

async function answer(
  ctx: Context,
  dependencies: Dependencies,
  codec: CursorCodec,
  envelope: boolean,
): Promise<void> {
  const wanted = checkQuery(query, ctx)
  const types = wanted.types ? new Set(wanted.types) : null
  const cursorText = wanted.after || wanted.lastEventId || null
  switch (wantedType(ctx)) {
    case 'text/event-stream': {
      const viewer = { cursor: codec, envelope, named: wanted.named !== 'false', types }
      // An EventSource without an id yet sends no header; an empty one is none either.
      const origin = wanted.last === undefined ? (wanted.from ?? null) : { last: wanted.last }
      return stream(ctx, dependencies.streams, {
        viewer,
        head: commonHead(ctx),
        cursor: ctx.get('Last-Event-ID') || cursorText,
        origin,
        expiresAt: callerOf(ctx).expiresAt,
        client: dependencies.clientOf(ctx),
      })
    }
    case 'application/json': {
      const request = { cursor: codec, after: cursorText, limit: wanted.limit, types, envelope }
      return history(ctx, dependencies, request)
    }
    default:
      throw new MillraceError('not-acceptable', 'text/event-stream and application/json can be had here')
  }
}

function wantedType(ctx: Context): string | false {
  // What every EventSource sends; to weigh types and qualities shows in the profile of a storm.
  if (ctx.req.headers.accept === 'text/event-stream') return 'text/event-stream'
  return ctx.accepts('text/event-stream', 'application/json') as string | false
}

async function stream(
  ctx: Context,
  streams: EventStreams,
  request: Parameters<EventStreams['open']>[0],
): Promise<void> {
  const answered = await streams.open(request, ctx.res)
  if (answered === 'ended') ctx.status = 204
  else ctx.respond = false
}

async function history(
  ctx: Context,
  { log, tasks, gate }: Dependencies,
  request: Parameters<typeof readHistory>[1],
): Promise<void> {
  const page = await gate.run(async () => {
    const taskId = request.envelope ? null : taskOfChannel(request.cursor.channels[0] ?? '')
    if (taskId !== null && !(await tasks.loadState(taskId))) {
      throw new MillraceError('task-not-found', `there is no task ${taskId}`)
    }
    return readHistory(log, request)
  })
  answerJson(ctx, 200, page)
}

function checkChannel(name: string): string {
  if (CHANNEL_NAME.test(name)) return name
  throw new MillraceError(
    'invalid-channel',
    'a channel name has 1 to 128 of A-Z a-z 0-9 : . _ - and begins with a letter or digit',
  )
}
