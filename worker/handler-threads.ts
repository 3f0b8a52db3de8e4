// Runs handlers that keep the CPU busy in threads of their own, so that they starve neither the other tasks of their
// worker nor the renewal of locks. A thread runs one task at a time and ends where that does not heed its signal.

import { once } from 'node:events'
import { MessageChannel } from 'node:worker_threads'
import { Piscina } from 'piscina'
import type { Logger } from '../shared/log.ts'
import { withTimeout } from '../shared/redis-connection.ts'
import type { TaskRecord } from '../shared/task.ts'
import { EventRefused } from './event-refused.ts'
import type { EventSink } from './event-sink.ts'
import type { ThreadNews, ThreadOutcome, ThreadRun } from './handler-thread.ts'
import type { LoadedTask } from './load-tasks.ts'
import type { RunStopped, TaskRun } from './task-run.ts'
import type { FromThread, ToThread } from './thread-writer.ts'

/** A thread without a task ends after this long. */
const IDLE_MS = 60_000
/** A module that has not loaded by then, which it did when the worker started, is taken to hang. */
const LOAD_MS = 30_000
/** As above, for all threads when the worker ends. */
const STOP_MS = 3_000

export interface HandlerThreadsParts {
  /** Tasks of this worker that run at once: there is a thread for each, so that none waits for one. */
  readonly concurrency: number
  /** What MILLRACE_HTTP_TARGETS says: a thread loads its handlers itself. */
  readonly httpTargets: string
  readonly log: Logger
}

/**
 * No thread is ended while it loads modules: where Node's `require` of an ES module meets that, the whole process aborts
 * ("v8::Module::IsGraphAsync must be used on an instantiated module", seen with Node 20.20).
 */
export class HandlerThreads {
  readonly #pool: Piscina<ThreadRun, ThreadOutcome>
  readonly #httpTargets: string
  readonly #log: Logger
  /** Threads that have loaded what is theirs, by their number. */
  readonly #ready = new Set<number>()
  /** Of the runs whose handlers are not loaded yet. */
  readonly #loading = new Set<Promise<void>>()

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
    this.#pool.on('workerCreate', ({ id }: { id: number }) => {
      // Those that have ended go here: at its end a thread may have no number any more.
      const threads = new Set(this.#pool.threads.map(({ threadId }) => threadId))
      for (const ready of this.#ready) if (!threads.has(ready)) this.#ready.delete(ready)
      this.#ready.add(id)
    })
    // Thrown by what a handler left behind; its own attempt is over, and another thread takes the next one.
    this.#pool.on('error', error => log.error({ err: error }, 'a thread without a task failed'))
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
    let isLoaded = (): void => undefined
    const loaded = new Promise<void>(resolve => {
      isLoaded = resolve
    })
    this.#loading.add(loaded)
    void loaded.then(() => this.#loading.delete(loaded))
    port1.on('message', (message: FromThread | ThreadNews) => {
      if ('loaded' in message) isLoaded()
      else if ('unheard' in message)
        this.#log.error({ error: message.unheard, task: id }, 'a promise was rejected unheard')
      else void record(message, sink).then(say)
    })
    run.signal.addEventListener('abort', () => say({ stop: (run.signal.reason as RunStopped).code }))
    const cutOff = new AbortController()
    run.onCutOff(() => {
      void withTimeout(loaded, LOAD_MS)
        .catch(() => this.#log.error({ task: id, file }, 'a thread has not loaded its handler in time'))
        .then(() => cutOff.abort())
    })
    try {
      const threadRun = { file, httpTargets: this.#httpTargets, id, attempt, input, port: port2 }
      const outcome = await this.#pool.run(threadRun, { transferList: [port2], signal: cutOff.signal })
      if (outcome.ok) return outcome.result
      throw outcome.error
    } catch (error) {
      throw exited(error) ?? error
    } finally {
      isLoaded()
      port1.close()
    }
  }

  /** Ends all threads. */
  async stop(): Promise<void> {
    await withTimeout(this.#allLoaded(), STOP_MS).catch(() => undefined)
    await this.#pool.destroy()
  }

  async #allLoaded(): Promise<void> {
    await Promise.all(this.#loading)
    while (this.#pool.threads.some(({ threadId }) => !this.#ready.has(threadId)))
      await once(this.#pool, 'workerCreate')
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
