// What a handler is given: checks what it says and turns it into events of its task.

import { setImmediate as nextTurn } from 'node:timers/promises'
import { MAX_EVENT_BYTES, type NewEvent } from '../shared/event.ts'
import { isDeeperThan, MAX_JSON_DEPTH } from '../shared/json-depth.ts'
import { type TaskProgress, type TaskRecord, taskEvent } from '../shared/task.ts'
import type { LogLevel, TaskContext } from './define-task.ts'
import { EventRefused } from './event-refused.ts'
import type { EventSink } from './event-sink.ts'
import { toTaskError } from './task-failure.ts'

const OWN_TYPE = /^[a-z][a-z0-9-]{0,63}$/

/** The broker's own events, those that EventSource knows itself, and the control events of a stream. */
const RESERVED_TYPES: ReadonlySet<string> = new Set([
  'queued',
  'started',
  'progress',
  'log',
  'output',
  'retrying',
  'cancelling',
  'completed',
  'failed',
  'cancelled',
  'expired',
  'error',
  'open',
  'message',
  'gap',
  'snapshot',
  'credential-expired',
])

const LOG_LEVELS: ReadonlySet<string> = new Set<LogLevel>(['debug', 'info', 'warn', 'error'])

/** Progress is only noted, so a loop that reports nothing else would never let the event loop turn. */
const TURN_MS = 10

/** The context of one run. Its methods need no `this`; they reject with {@link EventRefused}. */
export function createTaskContext(
  task: Pick<TaskRecord, 'id' | 'attempt'>,
  run: { readonly signal: AbortSignal },
  sink: EventSink,
): TaskContext {
  const { id, attempt } = task
  const event = (type: string, data: object) => smallEvent(id, attempt, type, data)
  let lastTurn = performance.now()
  return {
    id,
    attempt,
    get signal() {
      return run.signal
    },
    async progress(percent, message, details) {
      const progress = checkProgress(percent, message, details)
      sink.report(event('progress', progress), JSON.stringify(progress))
      if (performance.now() - lastTurn < TURN_MS) return
      await nextTurn()
      lastTurn = performance.now()
    },
    async output(chunk) {
      await sink.append(event('output', { chunk: jsonValue(chunk) }))
    },
    async emit(type, data) {
      checkOwnType(type)
      await sink.append(event(type, { data: jsonValue(data) }))
    },
    async log(message, level = 'info') {
      if (!LOG_LEVELS.has(level))
        throw new EventRefused('invalid-log-level', `a log level is one of ${[...LOG_LEVELS].join(', ')}`)
      await sink.append(event('log', { level, message: String(message) }))
    },
  }
}

function smallEvent(taskId: string, attempt: number, type: string, data: object): NewEvent {
  let event: NewEvent
  try {
    event = taskEvent(taskId, attempt, type, data)
  } catch (error) {
    throw new EventRefused(
      'not-serializable',
      `the data of the event ${type} are not JSON: ${toTaskError(error).message}`,
    )
  }
  const bytes = Buffer.byteLength(event.data)
  if (bytes > MAX_EVENT_BYTES) {
    throw new EventRefused(
      'event-too-large',
      `the event ${type} has ${bytes} bytes of data, ${MAX_EVENT_BYTES} are allowed`,
    )
  }
  // The event itself is a level more.
  if (isDeeperThan(MAX_JSON_DEPTH + 1, event.data)) {
    throw new EventRefused(
      'not-serializable',
      `the data of the event ${type} nest deeper than ${MAX_JSON_DEPTH} levels`,
    )
  }
  return event
}

// JSON.stringify leaves such members out silently.
function jsonValue(value: unknown): unknown {
  if (typeof value === 'function' || typeof value === 'symbol')
    throw new EventRefused('not-serializable', `a ${typeof value} is not JSON`)
  return value ?? null
}

function checkOwnType(type: unknown): asserts type is string {
  if (typeof type !== 'string' || !OWN_TYPE.test(type))
    throw new EventRefused('invalid-event-type', `an event type matches ${OWN_TYPE.source}`)
  if (RESERVED_TYPES.has(type))
    throw new EventRefused('invalid-event-type', `the event type ${type} is the broker's own`)
}

function checkProgress(percent: unknown, message: unknown, details: unknown): TaskProgress {
  if (percent !== null && percent !== undefined && (typeof percent !== 'number' || Number.isNaN(percent)))
    throw new EventRefused('invalid-progress', 'percent is a number from 0 to 100, or null')
  return {
    ...(typeof percent === 'number' && { percent: Math.min(Math.max(percent, 0), 100) }),
    ...(message !== undefined && message !== null && { message: String(message) }),
    ...(details !== undefined && { details: jsonValue(details) }),
  }
}
