// Runs handlers that keep the CPU busy in threads of their own, so that they starve neither the other tasks of their
// worker nor the renewal of locks. A thread runs one task at a time and ends where that does not heed its signal.

import { MessageChannel } from 'node:worker_threads'
import { Piscina } from 'piscina'
import type { Logger } from '../shared/log.ts'
import type { TaskRecord } from '../shared/task.ts'
import { EventRefused } from './event-refused.ts'
import type { EventSink } from './event-sink.ts'
import type { ThreadOutcome, ThreadRun, ThrownInThread } from './handler-thread.ts'
import type { LoadedTask } from './load-tasks.ts'
import type { RunStopped, TaskRun } from './task-run.ts'
import type { FromThread, ToThread } from './thread-writer.ts'

/** A thread without a task ends after this long. */
const IDLE_MS = 60_000

export interface HandlerThreadsParts {
  /** Tasks of this worker that run at once: there is a thread for each, so that none waits for one. */
  readonly concurrency: number
  /** What MILLRACE_HTTP_TARGETS says: a thread loads its handlers itself. */
  readonly httpTargets: string
  readonly log: Logger
}

export class HandlerThreads {
  readonly #pool: Piscina<ThreadRun, ThreadOutcome>
  readonly #httpTargets: string
  readonly #log: Logger

  constructor({ concurrency, httpTargets, log }: HandlerThreadsParts) {
    this.#httpTargets = httpTargets
    this.#log = log
    this.#pool = new Piscina({
      // Beside this file, with the same ending: .js in the built project.
      filename: import.meta.url.replace(/handler-threads(\.\w+)$/, 'handler-thread$1'),
      minThreads: 0,
      maxThreads: concurrency,
      idleTimeout: IDLE_MS,
      // Else a thread without a task would stop its event loop, and what the last one left behind with it.
      atomics: 'disabled',
    })
  }

  /** Runs one attempt; answers what the handler returns, as JSON, and throws what is to be read of what it throws. */
  async run(
    { file }: LoadedTask,
    { id, attempt, input }: TaskRecord,
    run: TaskRun,
    sink: EventSink,
  ): Promise<unknown> {
    const { port1, port2 } = new MessageChannel()
    const say = (message: ToThread) => port1.postMessage(message)
    port1.on('message', (message: FromThread | { unheard: ThrownInThread }) => {
      if ('unheard' in message)
        this.#log.error({ error: message.unheard, task: id }, 'a promise was rejected unheard')
      else void record(message, sink).then(say)
    })
    run.signal.addEventListener('abort', () => say({ stop: (run.signal.reason as RunStopped).code }))
    const cutOff = new AbortController()
    run.onCutOff(() => cutOff.abort())
    try {
      const threadRun = { file, httpTargets: this.#httpTargets, id, attempt, input, port: port2 }
      const outcome = await this.#pool.run(threadRun, { transferList: [port2], signal: cutOff.signal })
      if (outcome.ok) return outcome.result
      throw outcome.error
    } catch (error) {
      throw exited(error) ?? error
    } finally {
      port1.close()
    }
  }

  /** Ends all threads. */
  async stop(): Promise<void> {
    await this.#pool.destroy()
  }
}

// The pool calls a thread a worker, which is the whole process to those who read of it, and has but a text for this.
function exited(error: unknown): Error | null {
  const code = error instanceof Error && /^worker exited with code: (\d+)$/.exec(error.message)?.[1]
  return code ? new Error(`the handler ended its thread with exit code ${code}`) : null
}

async function record({ id, event, progress }: FromThread, sink: EventSink): Promise<ToThread> {
  try {
    if (progress === undefined) await sink.append(event)
    else sink.report(event, progress)
    return { id }
  } catch (error) {
    if (error instanceof EventRefused) return { id, refused: { code: error.code, message: error.message } }
    throw error
  }
}
