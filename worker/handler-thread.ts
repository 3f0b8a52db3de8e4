// The other side of handler-threads.ts, in a thread of the pool: loads handlers, runs them, and passes what they say
// to the worker, which records it.

import type { MessagePort } from 'node:worker_threads'
import { parseHttpTargets } from '../shared/http-targets.ts'
import type { TaskError } from '../shared/task.ts'
import { type LoadedTask, loadTaskFile } from './load-tasks.ts'
import { createTaskContext } from './task-context.ts'
import { retryAfterOf, stackOf, toTaskError } from './task-failure.ts'
import { checkResult } from './task-result.ts'
import { RunStopped, type StopCause } from './task-run.ts'
import { ThreadWriter, type ToThread } from './thread-writer.ts'

/** One attempt, as it is sent to a thread. All of it is cloned but the port, which is handed over. */
export interface ThreadRun {
  /** Absolute path of the module. */
  readonly file: string
  readonly httpTargets: string
  readonly id: string
  readonly attempt: number
  /** As it was submitted. */
  readonly input: unknown
  readonly port: MessagePort
}

/** How it ended. What was thrown is read here, since it may be anything. */
export type ThreadOutcome =
  | { readonly ok: true; readonly result: unknown }
  | { readonly ok: false; readonly error: ThrownInThread }

/** What a thread says by itself: its handler is loaded, or a promise was rejected that nobody heard. */
export type ThreadNews = { readonly loaded: true } | { readonly unheard: ThrownInThread }

type ThrownInThread = TaskError & { readonly retryAfterMs: number; readonly stack: string | undefined }

const loaded = new Map<string, Promise<LoadedTask>>()
let port: MessagePort | undefined

// What a handler leaves behind must not end its thread, and with it the thread's next task.
process.on('unhandledRejection', reason =>
  port?.postMessage({ unheard: thrown(reason) } satisfies ThreadNews),
)

export default async function runInThread(run: ThreadRun): Promise<ThreadOutcome> {
  port = run.port
  const controller = new AbortController()
  const writer = new ThreadWriter(run.port)
  run.port.on('message', (message: ToThread) => {
    if ('stop' in message) controller.abort(new RunStopped(message.stop satisfies StopCause))
    else writer.receive(message)
  })
  try {
    const { definition, parseInput } = await load(run)
    run.port.postMessage({ loaded: true } satisfies ThreadNews)
    const parsed = parseInput(run.input)
    if (!parsed.ok) throw new Error('the input was right in the worker and is wrong in its thread')
    // While it was loaded; the handler would never hear of it.
    controller.signal.throwIfAborted()
    const value = await definition.run(parsed.input, createTaskContext(run, controller, writer))
    const checked = checkResult(value)
    return checked.ok ? { ok: true, result: checked.result } : { ok: false, error: thrown(checked.error) }
  } catch (error) {
    return { ok: false, error: thrown(error) }
  } finally {
    await writer.settled()
    run.port.close()
  }
}

function load({ file, httpTargets }: ThreadRun): Promise<LoadedTask> {
  const task = loaded.get(file) ?? loadTaskFile(file, { httpTargets: parseHttpTargets(httpTargets) })
  loaded.set(file, task)
  return task
}

function thrown(error: unknown): ThrownInThread {
  return { ...toTaskError(error), retryAfterMs: retryAfterOf(error), stack: stackOf(error) }
}
