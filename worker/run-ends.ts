// Ends runs: the last events of a task, the end of its job, and the start of the next task are one step for Redis and one
// round trip for the worker, where else there are three. The one caller of end-runs.lua.

import { randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { type BackendFactory, createRedisBackend, type RedisQueueBackend, raw2NextJobData } from 'bullmq'
import { moveToFinished } from 'bullmq/dist/cjs/scripts/moveToFinished-14.js'
import type { Redis } from 'ioredis'
import { type NewEvent, taskChannel } from '../shared/event.ts'
import { isWritten, type TaskAppend, type TaskWrite } from '../shared/event-log.ts'
import { Gather } from '../shared/gather.ts'
import { jobIdOf, taskIdOfJob } from '../shared/job-id.ts'
import { queueKey, topicKey } from '../shared/keys.ts'
import {
  APPEND_EVENT,
  type AppendReply,
  orError,
  type ScriptAppend,
  sizeOf,
} from '../shared/redis-append-batch.ts'
import type { TaskLog } from '../shared/redis-task-log.ts'
import { startedFirst, type Transition } from '../shared/task-transitions.ts'
import { LOCK_MS } from './lock-keeper.ts'
import type { TaskRun } from './task-run.ts'

/** A run that began when another one ended. */
export interface BegunRun {
  /** That of its `started`. */
  readonly token: string
  readonly startedAt: number
  /** What came of its `started`; it is refused where another step comes first. */
  readonly answer: Promise<TaskAppend>
}

interface Ending {
  readonly jobId: string
  readonly lockToken: string
  readonly append: ScriptAppend
}

/** How the first run of any task begins. */
interface NextStart extends Transition {
  readonly token: string
  readonly now: number
  /** As end-runs.lua takes it. */
  readonly json: string
  /** What stands before and after the task's id in the event's data. */
  readonly around: readonly [before: string, after: string]
}

type NextJob = Awaited<ReturnType<RedisQueueBackend['moveToCompleted']>>['result']

/** What BullMQ's script answers, or why it failed. */
type JobReply =
  | [code: number]
  | [fields: string[] | 0, id: string, limitMs: number, delayUntil: number]
  | ['failed', message: string]

type EndReply = [appended: AppendReply, job: '' | JobReply, begun: '' | AppendReply]

interface ScriptCommands {
  millraceEndRuns(numberOfKeys: number, args: (string | number)[]): Promise<EndReply[]>
}

/** Those that BullMQ's script is given, in its order; the one without a name stands for the job's. */
const KEYS = [
  'wait',
  'active',
  'prioritized',
  'events',
  'stalled',
  'limiter',
  'delayed',
  'paused',
  'meta',
  'pc',
  'completed',
  '',
  'metrics:completed',
  'marker',
]

/** As BullMQ's worker says it of jobs that are removed when they are done. */
const OPTIONS = JSON.stringify({ keepJobs: { count: 0 }, lockDuration: LOCK_MS, maxMetricsSize: '' })

/** Answered by BullMQ's script for a job that is not there. */
const NO_JOB = -1

/** Stands for the id of a task, which has no such character. */
const ANY_ID = '\ue000'

export interface RunEndsParts {
  /** The connection of the queue's worker. It stays the caller's. */
  readonly redis: Redis
  readonly log: TaskLog
  /** Names of the task types that this worker has. */
  readonly types: Iterable<string>
  /** This worker, as `started` events name it. */
  readonly workerName: string
  /** Tasks that run at once. */
  readonly concurrency: number
}

/** Runs of one script, which nothing interrupts. */
const MAX_RUNS = 8
/** What runs at once ends in so many scripts at least: else Redis and the worker would wait for each other in turn. */
const MIN_SCRIPTS = 5

export class RunEnds {
  readonly #redis: Redis & ScriptCommands
  readonly #log: TaskLog
  readonly #types: Readonly<Record<string, true>>
  readonly #workerName: string
  readonly #keys: readonly string[]
  readonly #gather: Gather<Ending, AppendReply>
  /** By the job that was ended: what is left for BullMQ to know. */
  readonly #ended = new Map<string, { finishedOn: number; result: NextJob }>()
  /** By the job that was taken. */
  readonly #begun = new Map<string, BegunRun>()
  #takesNext = true

  constructor({ redis, log, types, workerName, concurrency }: RunEndsParts) {
    const lua = readFileSync(new URL('./end-runs.lua', import.meta.url), 'utf8')
    redis.defineCommand('millraceEndRuns', { lua: APPEND_EVENT + endJobs(moveToFinished.content) + lua })
    this.#redis = redis as Redis & ScriptCommands
    this.#log = log
    this.#types = Object.fromEntries([...types].map(type => [type, true]))
    this.#workerName = workerName
    this.#keys = KEYS.map(queueKey)
    const maxRuns = Math.min(Math.ceil(concurrency / MIN_SCRIPTS), MAX_RUNS)
    this.#gather = new Gather(endings => this.#send(endings), process.nextTick, maxRuns)
  }

  /** Appends the events that end a run; where they are written, its job is gone. */
  async end(run: TaskRun, events: readonly NewEvent[], write: TaskWrite): Promise<TaskAppend> {
    const append = this.#log.prepare(run.taskId, events, write)
    const ending = { jobId: jobIdOf(run.taskId), lockToken: run.lockToken, append }
    run.isEnding = true
    let isEnded = false
    try {
      const reply = await this.#gather.add(ending, sizeOf(append))
      const answer = await this.#log.answered(run.taskId, events, write, reply)
      isEnded = isWritten(answer)
      return answer
    } finally {
      run.isEnding = isEnded
    }
  }

  /** From now on no next job is taken. */
  takeNoNext(): void {
    this.#takesNext = false
  }

  /** The run that has begun with the taking of a job. */
  takeBegun(jobId: string): BegunRun | undefined {
    const begun = this.#begun.get(jobId)
    this.#begun.delete(jobId)
    return begun
  }

  /** Of a worker whose jobs may have been ended by the time at which BullMQ comes to do it. */
  readonly backendFactory: BackendFactory<RedisQueueBackend> = (...args) => {
    const backend = createRedisBackend(...args)
    const moveToCompleted = backend.moveToCompleted.bind(backend)
    backend.moveToCompleted = async (job, ...rest) => {
      const ended = this.#ended.get(job.id ?? '')
      if (!ended) return moveToCompleted(job, ...rest)
      this.#ended.delete(job.id ?? '')
      return ended
    }
    return backend
  }

  async #send(endings: readonly Ending[]): Promise<(AppendReply | Error)[]> {
    const now = Date.now()
    const next = this.#takesNext ? this.#nextStart(now) : null
    const keys = [...this.#keys]
    const args: (string | number)[] = [now, OPTIONS, next?.json ?? '']
    for (const { jobId, lockToken, append } of endings) {
      keys.push(queueKey(jobId), ...append.keys)
      args.push(jobId, lockToken, append.append, append.data.length, ...append.data)
    }
    const replies = await this.#redis.millraceEndRuns(keys.length, [...keys, ...args])
    // Answers come together. Those of one script are followed up, as far as the next script, before those of the other.
    await nextTurn()
    return endings.map(({ jobId }, i) => {
      const [appended, job, begun] = replies[i] ?? [[], '', '']
      if (job !== '') this.#noteEnd(jobId, job, now)
      if (next && begun !== '') this.#noteBegun(String(job[1]), begun, next)
      return orError(appended)
    })
  }

  #noteEnd(jobId: string, job: JobReply, finishedOn: number): void {
    const result = resultOf(job)
    // Without a note BullMQ ends the job itself, and sees why it can't.
    if (result !== null) this.#ended.set(jobId, { finishedOn, result })
  }

  #noteBegun(jobId: string, reply: AppendReply, { token, now, event, write, around }: NextStart): void {
    const taskId = taskIdOfJob(jobId)
    const started = { ...event, data: around[0] + taskId + around[1] }
    const failed = orError(reply)
    const answer =
      failed instanceof Error ? Promise.reject(failed) : this.#log.answered(taskId, [started], write, failed)
    // Whoever takes the run sees it; a worker that drains may not come to that.
    answer.catch(() => undefined)
    this.#begun.set(jobId, { token, startedAt: now, answer })
  }

  #nextStart(now: number): NextStart {
    const token = randomUUID()
    const { event, write } = startedFirst(ANY_ID, { worker: this.#workerName, token, now })
    const { keys, append } = this.#log.prepare(ANY_ID, [event], write)
    const [log, state, topic] = [...keys, topicKey(taskChannel(ANY_ID))].map(aroundId)
    const around = aroundId(event.data)
    const names = { jobPrefix: jobIdOf(''), types: this.#types, log, state, topic, data: around }
    return { json: `{"append":${append},${JSON.stringify(names).slice(1)}`, token, now, event, write, around }
  }
}

/** What BullMQ makes of its script's answer; null where that is an error. */
function resultOf(job: JobReply): NextJob | null {
  if (job[0] === 'failed') return null
  if (job.length > 1) return raw2NextJobData(job)
  if (job[0] === 0) return []
  // An end that was sent again finds no job: the first one took it away.
  return job[0] === NO_JOB ? undefined : null
}

/** What stands before and after the id. */
function aroundId(text: string): [before: string, after: string] {
  const at = text.indexOf(ANY_ID)
  return [text.slice(0, at), text.slice(at + ANY_ID.length)]
}

/**
 * BullMQ's script as the function `endJobs(cmsgpack, redis)`, which answers another one that ends a job: what the script
 * first defines, it then defines once for many jobs.
 */
function endJobs(script: string): string {
  const [definitions, steps, ...rest] = script.split(/^(?=local jobIdKey = KEYS\[12\]$)/m)
  if (!steps || rest.length > 0) throw new Error("BullMQ's script moveToFinished is not as it was")
  return `local function endJobs(cmsgpack, redis)\n${definitions}return function(KEYS, ARGV)\n${steps}\nend\nend\n`
}
