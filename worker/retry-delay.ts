// The pause between a failed attempt and the next one. Pure.

import type { Backoff } from '../shared/task.ts'

/** However often an exponential pause was doubled, it is no longer than this: the longest delay of a task. */
export const MAX_RETRY_DELAY_MS = 30 * 24 * 60 * 60 * 1000

/**
 * The pause in ms after attempt number `failedAttempt` (the first is 1); none without a backoff.
 * `random` answers 0–1; with jitter j the pause lies between (1 - j) of its length and all of it.
 */
export function retryDelayMs(
  backoff: Backoff | null,
  failedAttempt: number,
  random: () => number = Math.random,
): number {
  if (!backoff) return 0
  const factor = backoff.type === 'exponential' ? 2 ** (failedAttempt - 1) : 1
  const delay = Math.min(backoff.delayMs * factor, MAX_RETRY_DELAY_MS)
  return Math.round(delay * (1 - (backoff.jitter ?? 0) * random()))
}
