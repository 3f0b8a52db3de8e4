// What may stand in a submission, and the task that becomes of it.

import { z } from 'zod'
import { CHANNEL_NAME, taskOfChannel } from '../../shared/event.ts'
import { CONCURRENCY_KEY, TASK_ID, type TaskRecord, type TaskRequest } from '../../shared/task.ts'
import type { TaskType } from '../../shared/task-types.ts'

const DAY_MS = 24 * 60 * 60 * 1000

const wholeNumber = (min: number, max: number) => z.int().min(min).max(max)

const backoff = z.strictObject({
  type: z.enum(['fixed', 'exponential']),
  delayMs: wholeNumber(0, 30 * DAY_MS),
  jitter: z.number().min(0).max(1).optional(),
})

const MAX_CHANNELS = 5

const channel = z
  .string()
  .regex(CHANNEL_NAME, 'must be 1 to 128 of A-Z a-z 0-9 : . _ -, and begin with a letter or a digit')
  .refine(name => taskOfChannel(name) === null, "channels that begin with task: are the broker's own")

/** What a task is submitted with. What is left out falls to the task's type. */
export const submissionFields = z.strictObject({
  type: z.string().min(1),
  input: z.unknown().default({}),
  id: z.string().regex(TASK_ID, 'must be 1 to 64 of A-Z a-z 0-9 _ -, and not digits alone').optional(),
  delayMs: wholeNumber(0, 30 * DAY_MS).default(0),
  priority: wholeNumber(0, 1_000).default(0),
  attempts: wholeNumber(1, 25).optional(),
  backoff: backoff.optional(),
  timeoutMs: wholeNumber(1, 7 * DAY_MS).optional(),
  expiresInMs: wholeNumber(1, 365 * DAY_MS).optional(),
  retainMs: wholeNumber(1_000, 3_650 * DAY_MS).optional(),
  concurrencyKey: z
    .string()
    .regex(CONCURRENCY_KEY, 'must be 1 to 128 of A-Z a-z 0-9 : . _ -, the first a letter or digit')
    .optional(),
  concurrencyLimit: wholeNumber(1, 1_000).optional(),
  callbackUrl: z.url().max(2_048).optional(),
  channels: z.array(channel).max(MAX_CHANNELS).optional(),
})

/** A limit is one of its key. */
export const limitHasKey: [(task: Partial<Submission>) => boolean, { path: string[]; message: string }] = [
  ({ concurrencyKey, concurrencyLimit }) => concurrencyLimit === undefined || concurrencyKey !== undefined,
  { path: ['concurrencyLimit'], message: 'goes with concurrencyKey alone' },
]

/** The body of `POST /v1/tasks`. */
export const submissionSchema = submissionFields.refine(...limitHasKey)

export type Submission = z.output<typeof submissionFields>

/** What neither a submission nor its type says. */
export interface TaskDefaults {
  readonly retainMs: number
  /** Tasks of one concurrency key that run at once. */
  readonly concurrencyPerKey: number
}

/** The task that a submission asks for, with every default filled in. */
export function taskRequest(
  submission: Submission,
  id: string,
  type: TaskType,
  defaults: TaskDefaults,
): TaskRequest {
  const { concurrencyKey, concurrencyLimit, channels } = submission
  // A task has one key: its own, else that of its type if there is a limit.
  const hasKey = concurrencyKey !== undefined
  const keyOfType = type.concurrency === undefined ? null : `type:${type.type}`
  return {
    id,
    type: type.type,
    input: submission.input,
    delayMs: submission.delayMs,
    priority: submission.priority,
    attempts: submission.attempts ?? type.attempts,
    backoff: submission.backoff ?? type.backoff ?? null,
    timeoutMs: submission.timeoutMs ?? type.timeoutMs,
    expiresInMs: submission.expiresInMs ?? null,
    retainMs: submission.retainMs ?? defaults.retainMs,
    concurrencyKey: hasKey ? concurrencyKey : keyOfType,
    concurrencyLimit: hasKey ? (concurrencyLimit ?? defaults.concurrencyPerKey) : (type.concurrency ?? null),
    callbackUrl: submission.callbackUrl,
    channels: channels && [...new Set(channels)],
  }
}

/** The task that runs an ended one again, at once, as that was asked for. */
export function retryRequest(task: TaskRecord, id: string): TaskRequest {
  return {
    id,
    type: task.type,
    input: task.input,
    delayMs: 0,
    priority: task.priority,
    attempts: task.attempts,
    backoff: task.backoff,
    timeoutMs: task.timeoutMs,
    expiresInMs: task.expiresAt === null ? null : task.expiresAt - task.createdAt,
    retainMs: task.retainMs,
    concurrencyKey: task.concurrencyKey,
    concurrencyLimit: task.concurrencyLimit,
    callbackUrl: task.callbackUrl ?? undefined,
    channels: task.channels,
    retryOf: task.id,
  }
}
