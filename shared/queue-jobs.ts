// Puts jobs of tasks into BullMQ's queue one by one. Those of most tasks come there with their records, by
// begin-tasks.lua.

import type { JobJson, Queue } from 'bullmq'
import { jobIdOf } from './job-id.ts'
import type { TaskRequest } from './task.ts'

/** A task as far as the queue goes. */
export type QueuedJob = Pick<TaskRequest, 'id' | 'type' | 'priority' | 'delayMs'>

/**
 * What BullMQ stores of a job is what the job says of itself; all else about a task stands in its record, and what
 * holds for every job says the worker. A hash of short values alone takes a third of the memory.
 */
const JOB: Omit<JobJson, 'id' | 'name' | 'timestamp' | 'opts'> = {
  data: '{}',
  progress: 0,
  attemptsMade: 0,
  attemptsStarted: 0,
  stalledCounter: 0,
  failedReason: '',
  returnvalue: '',
}

/**
 * Adds a job, by what BullMQ's `add` comes down to: that keeps the id in the job's options too. One that exists stays as
 * it is.
 */
export async function addJob(queue: Queue, { id, type, priority, delayMs }: QueuedJob): Promise<void> {
  const jobId = jobIdOf(id)
  const opts = { ...(priority > 0 && { priority }), ...(delayMs > 0 && { delay: delayMs }) }
  await queue.backend.addJob({ ...JOB, id: jobId, name: type, timestamp: Date.now(), opts }, jobId)
}
