// Calls a handler and waits until it has ended or is no longer waited for.

import type { TaskRun } from './task-run.ts'

export type Settlement =
  | { how: 'returned'; value: unknown }
  | { how: 'threw'; error: unknown }
  /** In a thread it was ended; else it goes on unheard, since nothing can end it from outside. */
  | { how: 'cut-off' }
  /** The run had to stop before it was called. */
  | { how: 'skipped' }

/** Longest delay of a timer in Node; a longer one would fire at once. */
const MAX_TIMER_MS = 2 ** 31 - 1

/** Runs one attempt; past `timeoutMs` the run is stopped by `timeout`. Never rejects. */
export async function runHandler(call: () => unknown, run: TaskRun, timeoutMs: number): Promise<Settlement> {
  if (run.isStopped) return { how: 'skipped' }
  const timer = setTimeout(() => run.stop('timeout'), Math.min(timeoutMs, MAX_TIMER_MS))
  const settlement = await new Promise<Settlement>(settle => {
    run.onCutOff(() => settle({ how: 'cut-off' }))
    const handler = (async () => call())()
    handler.then(
      value => settle({ how: 'returned', value }),
      error => settle({ how: 'threw', error }),
    )
  })
  clearTimeout(timer)
  return settlement
}
