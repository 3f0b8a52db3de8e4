/** A task's record, as a worker finds it, for tests of decisions. */
import type { TaskRecord } from '../../shared/task.ts'

export function taskRecord(fields: Partial<TaskRecord> = {}): TaskRecord {
  return {
    id: 'task-1',
    type: 'probe',
    state: 'queued',
    attempt: 1,
    attempts: 1,
    backoff: null,
    run: 0,
    lostRuns: 0,
    handedBackRun: null,
    runToken: null,
    input: {},
    priority: 0,
    timeoutMs: 60_000,
    retainMs: 60_000,
    runAt: null,
    expiresAt: null,
    cancelRequested: false,
    cancelReason: null,
    progress: null,
    result: null,
    error: null,
    createdAt: 1_000,
    startedAt: null,
    finishedAt: null,
    lastEventId: '1-1',
    concurrencyKey: null,
    concurrencyLimit: null,
    callbackUrl: null,
    channels: [],
    scheduleId: null,
    retryOf: null,
    ...fields,
  }
}
