// A task's record as the flat fields of a Redis hash, both ways. Pure.

import { parseChannels } from './event-copies.ts'
import type { TaskFields } from './event-log.ts'
import type { TaskRecord, TaskRequest, TaskState } from './task.ts'

/** The fields of a new task's hash. */
export function newTaskFields(request: TaskRequest, now: number): Record<string, string | number> {
  const delayed = request.delayMs > 0
  return {
    id: request.id,
    type: request.type,
    state: delayed ? 'scheduled' : 'queued',
    attempt: 1,
    attempts: request.attempts,
    run: 0,
    input: JSON.stringify(request.input),
    priority: request.priority,
    timeoutMs: request.timeoutMs,
    retainMs: request.retainMs,
    createdAt: now,
    ...(request.backoff && { backoff: JSON.stringify(request.backoff) }),
    ...(delayed && { runAt: now + request.delayMs }),
    ...(request.concurrencyKey != null && {
      concurrencyKey: request.concurrencyKey,
      concurrencyLimit: request.concurrencyLimit ?? 1,
    }),
    ...(request.callbackUrl !== undefined && { callbackUrl: request.callbackUrl }),
    ...(request.channels?.length && { channels: JSON.stringify(request.channels) }),
    ...(request.scheduleId !== undefined && { scheduleId: request.scheduleId }),
    ...(request.retryOf !== undefined && { retryOf: request.retryOf }),
    ...(request.expiresInMs !== null && { expiresAt: now + request.expiresInMs }),
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
  if (fields.id === undefined) return null
  return {
    id: fields.id,
    type: fields.type ?? '',
    state: fields.state as TaskState,
    attempt: Number(fields.attempt),
    attempts: Number(fields.attempts),
    backoff: json(fields.backoff) as TaskRecord['backoff'],
    run: Number(fields.run),
    lostRuns: Number(fields.lostRuns ?? 0),
    handedBackRun: numberOrNull(fields.handedBackRun),
    runToken: fields.runToken ?? null,
    input: json(fields.input),
    priority: Number(fields.priority),
    timeoutMs: Number(fields.timeoutMs),
    retainMs: Number(fields.retainMs),
    runAt: numberOrNull(fields.runAt),
    expiresAt: numberOrNull(fields.expiresAt),
    cancelRequested: fields.cancel === '1',
    cancelReason: fields.cancelReason ?? null,
    progress: json(fields.progress) as TaskRecord['progress'],
    result: json(fields.result),
    error: json(fields.error) as TaskRecord['error'],
    createdAt: Number(fields.createdAt),
    startedAt: numberOrNull(fields.startedAt),
    finishedAt: numberOrNull(fields.finishedAt),
    lastEventId: fields.lastEventId ?? '',
    concurrencyKey: fields.concurrencyKey ?? null,
    concurrencyLimit: numberOrNull(fields.concurrencyLimit),
    callbackUrl: fields.callbackUrl ?? null,
    channels: parseChannels(fields.channels),
    scheduleId: fields.scheduleId ?? null,
    retryOf: fields.retryOf ?? null,
  }
}

function json(text: string | undefined): unknown {
  return text === undefined ? null : JSON.parse(text)
}

function numberOrNull(text: string | undefined): number | null {
  return text === undefined ? null : Number(text)
}
