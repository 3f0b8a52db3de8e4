// POST /v1/channels/{channel}/events

import type Router from '@koa/router'
import type { Context } from 'koa'
import { z } from 'zod'
import { MillraceError } from '../../shared/errors.ts'
import {
  CHANNEL_NAME,
  EVENT_TYPE,
  MAX_EVENT_BYTES,
  type NewEvent,
  taskOfChannel,
} from '../../shared/event.ts'
import { formatPosition, type Position } from '../../shared/event-id.ts'
import type { EventLog } from '../../shared/event-log.ts'
import { type KeyedRequest, onceOf } from '../../shared/redis-idempotency.ts'
import { answerJson } from '../http/answer.ts'
import { checkBody, checkQuery, invalid } from '../http/checked-request.ts'
import { keyedRequest, keyReused, markReplayed } from '../http/idempotency-key.ts'
import { readJson, readText } from '../http/request-body.ts'
import type { RedisGate } from '../redis-gate.ts'
import type { EventStreams } from '../stream/event-streams.ts'
import { CREDENTIAL_EXPIRED } from '../stream/sse-frame.ts'

/** Of one request, appended together. */
const MAX_EVENTS = 1_000

const eventType = z
  .string()
  .regex(EVENT_TYPE, 'must be 1 to 64 of A-Z a-z 0-9 _ . -')
  // Whoever publishes could make all viewers fetch new credentials, as often as they like.
  .refine(type => type !== CREDENTIAL_EXPIRED, 'is what a gateway alone says')
  .default('message')
const eventSchema = z.strictObject({ type: eventType, data: z.nonoptional(z.unknown(), 'is required') })
const batchSchema = z.array(eventSchema).min(1).max(MAX_EVENTS)
const querySchema = z.object({ type: eventType })

interface Dependencies {
  readonly gate: RedisGate
  readonly log: EventLog
  readonly streams: EventStreams
}

export function publishEventsRoute(router: Router, { gate, log, streams }: Dependencies): void {
  router.post('/v1/channels/:channel/events', async ctx => {
    const channel = publishableChannel(ctx.params.channel ?? '')
    const events = isText(ctx) ? [await readTextEvent(ctx)] : readEvents(await readJson(ctx))
    // When it came is no part of what is asked for.
    const keyed = keyedRequest(ctx, () => events.map(({ time: _, ...event }) => event))
    gate.requireOpen()
    const first = keyed
      ? await appendOnce(ctx, log, channel, events, keyed)
      : await log.append(channel, events)
    // With a key it may be a repetition: then its events stand in the log with the time of the first one.
    if (!keyed) streams.appended(channel, events, first)
    const { epoch, seq } = first
    answerJson(ctx, 201, { ids: events.map((_, i) => formatPosition({ epoch, seq: seq + i })) })
  })
}

async function appendOnce(
  ctx: Context,
  log: EventLog,
  channel: string,
  events: readonly NewEvent[],
  keyed: KeyedRequest,
): Promise<Position> {
  const answer = await log.appendOnce(channel, events, onceOf(keyed))
  if (answer.outcome === 'reused') throw keyReused()
  if (answer.outcome === 'repeated') markReplayed(ctx)
  return answer.first
}

function publishableChannel(channel: string): string {
  if (taskOfChannel(channel) !== null) {
    throw new MillraceError('reserved-channel', 'the channels of tasks are written by the broker alone')
  }
  if (!CHANNEL_NAME.test(channel)) {
    throw new MillraceError('invalid-channel', 'a channel is named by 1 to 128 of A-Z a-z 0-9 : . _ -')
  }
  return channel
}

/** Not by `ctx.is`: it parses the whole header, which shows in the profile of a publish. */
function isText(ctx: Context): boolean {
  return ctx.request.type.toLowerCase() === 'text/plain'
}

async function readTextEvent(ctx: Context): Promise<NewEvent> {
  const { type } = checkQuery(querySchema, ctx)
  const data = await readText(ctx)
  checkSize(data, 'data')
  return { type, time: Date.now(), format: 'text', data }
}

function readEvents(body: unknown): NewEvent[] {
  const time = Date.now()
  const toEvent = ({ type, data }: z.output<typeof eventSchema>, path: string): NewEvent => {
    const text = JSON.stringify(data)
    checkSize(text, path)
    return { type, time, format: 'json', data: text }
  }
  if (!Array.isArray(body)) return [toEvent(checkBody(eventSchema, body), 'data')]
  return checkBody(batchSchema, body).map((event, i) => toEvent(event, `${i}.data`))
}

function checkSize(data: string, path: string): void {
  const bytes = Buffer.byteLength(data)
  if (bytes <= MAX_EVENT_BYTES) return
  throw invalid('event-too-large', [
    { path, message: `has ${bytes} bytes; an event has at most ${MAX_EVENT_BYTES}` },
  ])
}
