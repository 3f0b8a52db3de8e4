// Runs a definition as the worker would, with a context that remembers what it was told.

import type { TaskContext, TaskDefinition } from '../../worker/define-task.ts'

export interface HandlerRun {
  readonly context: TaskContext
  readonly progress: { percent: number | null; message: string | undefined }[]
  readonly result: Promise<unknown>
}

export function runHandler<Input>(
  definition: TaskDefinition<Input>,
  input: unknown,
  options: { signal?: AbortSignal; onProgress?: () => void } = {},
): HandlerRun {
  const progress: HandlerRun['progress'] = []
  const context: TaskContext = {
    id: 'task-1',
    attempt: 1,
    signal: options.signal ?? new AbortController().signal,
    async progress(percent, message) {
      progress.push({ percent, message })
      options.onProgress?.()
    },
    async output() {},
    async emit() {},
    async log() {},
  }
  const run = async () => definition.run(definition.input?.parse(input) as Input, context)
  return { context, progress, result: run() }
}
