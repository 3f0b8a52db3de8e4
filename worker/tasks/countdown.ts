// Counts down in equal steps: the smallest task that shows progress, and one to try the broker with.

import { setTimeout as sleep } from 'node:timers/promises'
import { z } from 'zod'
import { defineTask } from '../define-task.ts'

export default defineTask({
  type: 'countdown',
  input: z.strictObject({
    steps: z.int().min(1).max(10_000).default(10),
    intervalMs: z.int().min(0).max(3_600_000).default(1_000),
  }),
  async run({ steps, intervalMs }, context) {
    for (let step = 1; step <= steps; step++) {
      await sleep(intervalMs, undefined, { signal: context.signal })
      await context.progress(Math.round((step / steps) * 100), `step ${step} of ${steps}`)
    }
    return { steps }
  },
})
