// Calls a handler and waits until it has ended or is no longer waited for.

import type { TaskContext } from './define-task.ts'
import type { LoadedTask } from './load-tasks.ts'
import type { TaskRun } from './task-run.ts'

export type Settlement =
  | { how: 'returned'; value: unknown }
  | { how: 'threw'; error: unknown }
  /** It goes on unheard: nothing can end it from outside. */
  | { how: 'cut-off' }
  /** The run had to stop before it was called. */
  | { how: 'skipped' }

/** Longest delay of a timer in Node; a longer one would fire at once. */
const MAX_TIMER_MS = 2 ** 31 - 1

/** Runs one attempt; past `timeoutMs` the run is stopped by `timeout`. Never rejects. */
export async function runHandler(
  { definition }: LoadedTask,
  input: unknown,
  context: TaskContext,
  run: TaskRun,
  timeoutMs: number,
): Promise<Settlement> {
  if (run.isStopped) return { how: 'skipped' }
  const timer = setTimeout(() => run.stop('timeout'), Math.min(timeoutMs, MAX_TIMER_MS))
  const handler = (async () => definition.run(input, context))()
  try {
    return await Promise.race<Settlement>([
      handler.then(
        value => ({ how: 'returned', value }),
        error => ({ how: 'threw', error }),
      ),
      run.cutOff.then(() => ({ how: 'cut-off' })),
    ])
  } finally {
    clearTimeout(timer)
  }
}
