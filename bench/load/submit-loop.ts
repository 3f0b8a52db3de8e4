// Submits over and over on several lanes at once, each the next one when the last was answered (closed loop). What a
// submission is, who runs this says.

import { nowUs } from './clock.ts'
import { LatencyHistogram } from './latency-histogram.ts'

export interface SubmitTarget {
  /** Of the gateway; the reference needs none. */
  readonly port: number
  readonly redisUrl: string
  /** Lanes. */
  readonly concurrency: number
  /** Tasks of one request; 0: one by one, by the call that is for one. */
  readonly batch: number
}

/** Ends after this long, or after so many tasks. */
export interface SubmitRequest {
  readonly durationMs?: number
  readonly tasks?: number
}

export interface Submitted {
  readonly tasks: number
  readonly seconds: number
  /** Request to answer. */
  readonly answerP50Ms: number
  readonly answerP99Ms: number
  readonly cpuShare: number
}

/** What each task has as input, and each job of the reference as data. */
export const INPUT = { order: 1_234_567, customer: 'customer-4711', text: 'x'.repeat(40) }

export async function submitLoop(
  lanes: readonly (() => Promise<void>)[],
  tasksPerSubmission: number,
  { durationMs = Number.POSITIVE_INFINITY, tasks = Number.POSITIVE_INFINITY }: SubmitRequest,
): Promise<Submitted> {
  const answers = new LatencyHistogram()
  const startedUs = nowUs()
  const cpu = process.cpuUsage()
  let begun = 0
  const run = async (submit: () => Promise<void>) => {
    while (begun < tasks && nowUs() - startedUs < durationMs * 1000) {
      begun += tasksPerSubmission
      const sentUs = nowUs()
      await submit()
      answers.record(nowUs() - sentUs)
    }
  }
  await Promise.all(lanes.map(run))
  const passedUs = nowUs() - startedUs
  const { user, system } = process.cpuUsage(cpu)
  return {
    tasks: begun,
    seconds: passedUs / 1e6,
    answerP50Ms: answers.percentileMs(0.5),
    answerP99Ms: answers.percentileMs(0.99),
    cpuShare: (user + system) / passedUs,
  }
}
