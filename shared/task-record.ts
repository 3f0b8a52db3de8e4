// A task's record as the flat fields of a Redis hash, both ways. Pure.

import { parseChannels } from './event-copies.ts'
import type { TaskFields } from './event-log.ts'
import type { TaskRecord, TaskRequest, TaskState } from './task.ts'

/**
 * What is fixed when a task is accepted, but for its input and for what tasks are filtered by. One field of the hash, as
 * JSON: each field more costs time wherever the hash is written or read, and memory.
 */
type FixedPart = Pick<TaskRecord, 'id' | 'attempts' | 'priority' | 'timeoutMs' | 'retainMs' | 'createdAt'> & {
  readonly [K in 'backoff' | 'concurrencyLimit' | 'callbackUrl' | 'retryOf']?: TaskRecord[K] | undefined
}

/** The fields of a new task's hash. What is not there is as {@link parseTaskFields} says. */
export function newTaskFields(request: TaskRequest, now: number): Record<string, string | number> {
  const delayed = request.delayMs > 0
  const fields: Record<string, string | number> = {
    state: delayed ? 'scheduled' : 'queued',
    type: request.type,
    fixed: JSON.stringify(fixedPart(request, now)),
    input: JSON.stringify(request.input),
  }
  if (delayed) fields.runAt = now + request.delayMs
  if (request.concurrencyKey != null) fields.concurrencyKey = request.concurrencyKey
  if (request.channels?.length) fields.channels = JSON.stringify(request.channels)
  if (request.scheduleId !== undefined) fields.scheduleId = request.scheduleId
  if (request.expiresInMs !== null) fields.expiresAt = now + request.expiresInMs
  return fields
}

function fixedPart(request: TaskRequest, createdAt: number): FixedPart {
  const { id, attempts, priority, timeoutMs, retainMs, backoff, callbackUrl, retryOf } = request
  const concurrencyLimit = request.concurrencyKey == null ? undefined : (request.concurrencyLimit ?? 1)
  return {
    id,
    attempts,
    priority,
    timeoutMs,
    retainMs,
    createdAt,
    // What is undefined does not stand in the JSON. Objects that are made by spreading cost several times as much.
    backoff: backoff ?? undefined,
    concurrencyLimit,
    callbackUrl,
    retryOf,
  }
}

/** The record that those fields make. */
export function acceptedTask(request: TaskRequest, now: number, lastEventId: string): TaskRecord {
  const { delayMs, expiresInMs } = request
  // Each by its name: objects that are made by spreading cost several times as much.
  return {
    id: request.id,
    type: request.type,
    input: request.input,
    attempts: request.attempts,
    backoff: request.backoff,
    priority: request.priority,
    timeoutMs: request.timeoutMs,
    retainMs: request.retainMs,
    state: delayMs > 0 ? 'scheduled' : 'queued',
    attempt: 1,
    run: 0,
    lostRuns: 0,
    handedBackRun: null,
    runToken: null,
    runAt: delayMs > 0 ? now + delayMs : null,
    expiresAt: expiresInMs === null ? null : now + expiresInMs,
    cancelRequested: false,
    cancelReason: null,
    progress: null,
    result: null,
    error: null,
    createdAt: now,
    startedAt: null,
    finishedAt: null,
    lastEventId,
    concurrencyKey: request.concurrencyKey ?? null,
    concurrencyLimit: request.concurrencyLimit ?? null,
    callbackUrl: request.callbackUrl ?? null,
    channels: request.channels ?? [],
    scheduleId: request.scheduleId ?? null,
    retryOf: request.retryOf ?? null,
  }
}

/** Reads a hash as HGETALL gives it; null when it is empty, as that of an unknown task is. */
export function parseTaskFields(fields: TaskFields): TaskRecord | null {
  if (fields.fixed === undefined) return null
  const fixed = JSON.parse(fields.fixed) as FixedPart
  return {
    id: fixed.id,
    type: fields.type ?? '',
    state: fields.state as TaskState,
    attempt: Number(fields.attempt ?? 1),
    attempts: fixed.attempts,
    backoff: fixed.backoff ?? null,
    run: Number(fields.run ?? 0),
    lostRuns: Number(fields.lostRuns ?? 0),
    handedBackRun: numberOrNull(fields.handedBackRun),
    runToken: fields.runToken ?? null,
    input: json(fields.input),
    priority: fixed.priority,
    timeoutMs: fixed.timeoutMs,
    retainMs: fixed.retainMs,
    runAt: numberOrNull(fields.runAt),
    expiresAt: numberOrNull(fields.expiresAt),
    cancelRequested: fields.cancel === '1',
    cancelReason: fields.cancelReason ?? null,
    progress: json(fields.progress) as TaskRecord['progress'],
    result: json(fields.result),
    error: json(fields.error) as TaskRecord['error'],
    createdAt: fixed.createdAt,
    startedAt: numberOrNull(fields.startedAt),
    finishedAt: numberOrNull(fields.finishedAt),
    lastEventId: fields.lastEventId ?? '',
    concurrencyKey: fields.concurrencyKey ?? null,
    concurrencyLimit: fixed.concurrencyLimit ?? null,
    callbackUrl: fixed.callbackUrl ?? null,
    channels: parseChannels(fields.channels),
    scheduleId: fields.scheduleId ?? null,
    retryOf: fixed.retryOf ?? null,
  }
}

/** When a task was created, in ms since 1970, by the field of that name. */
export function createdAtOf(fixed: string): number {
  return (JSON.parse(fixed) as FixedPart).createdAt
}

function json(text: string | undefined): unknown {
  return text === undefined ? null : JSON.parse(text)
}

function numberOrNull(text: string | undefined): number | null {
  return text === undefined ? null : Number(text)
}
