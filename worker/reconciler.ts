// Makes it true that every accepted task ends: finds open tasks whose job is missing or whose time to start has
// passed, frees the slots that ended tasks still have, and sweeps up what points to nothing. One worker at a time does
// a round, which is bounded; all it does may be done twice.

import { taskIdOfMember, timeOfMember } from '../shared/keys.ts'
import type { Logger } from '../shared/log.ts'
import type { TaskHeader, TaskStore } from '../shared/redis-tasks.ts'
import { isTerminal } from '../shared/task.ts'
import type { TaskQueue } from '../shared/task-queue.ts'
import { ended } from '../shared/task-transitions.ts'
import { EXPIRED, isExpired } from './before-run.ts'
import type { WorkerMetrics } from './metrics.ts'
import type { RedisSweep, SweptSet } from './redis-sweep.ts'

const INTERVAL_MS = 5_000
/** A little shorter, so that the same worker may be next. */
const TURN_MS = 4_500
/** A round looks at this many tasks in each set at most, and goes on from there in the next one. */
const STEP = 500
const MAX_STEPS = 10
/** Submitting a task takes several steps, the last of which is its job. */
const SUBMIT_MS = 10_000
/** What has no record by then gets none. */
const ORPHAN_AFTER_MS = 60_000

export interface ReconcilerParts {
  readonly sweep: RedisSweep
  readonly tasks: TaskStore
  readonly queue: TaskQueue
  /** Those of this worker: other types don't become labels. */
  readonly types: Pick<ReadonlyMap<string, unknown>, 'has'>
  readonly metrics: WorkerMetrics
  readonly workerName: string
  readonly log: Logger
}

export class Reconciler {
  readonly #parts: ReconcilerParts
  #timer: NodeJS.Timeout | undefined
  #busy = false

  constructor(parts: ReconcilerParts) {
    this.#parts = parts
  }

  start(): void {
    this.#timer = setInterval(() => void this.#tick(), INTERVAL_MS)
  }

  stop(): void {
    clearInterval(this.#timer)
  }

  /** One round, if it is this worker's turn. `now` in ms since 1970. */
  async round(now = Date.now()): Promise<void> {
    const { sweep, workerName } = this.#parts
    if (!(await sweep.takeTurn(workerName, TURN_MS))) return
    const deadline = performance.now() + TURN_MS
    await this.#walk('open', deadline, members => this.#repairOpen(members, now))
    await this.#walk('index', deadline, members => this.#sweepIndex(members, now))
    await this.#walk('keys', deadline, keys => this.#clearSlots(keys))
  }

  // While Redis is away a round waits for it, and no second one is begun.
  async #tick(): Promise<void> {
    if (this.#busy) return
    this.#busy = true
    try {
      await this.round()
    } catch (error) {
      this.#parts.log.warn({ err: error }, 'a round of repairs broke off')
    } finally {
      this.#busy = false
    }
  }

  async #walk(set: SweptSet, deadline: number, step: (members: string[]) => Promise<void>): Promise<void> {
    for (let i = 0; i < MAX_STEPS && performance.now() < deadline; i++) {
      const members = await this.#parts.sweep.next(set, STEP)
      await step(members)
      if (members.length < STEP) return
    }
  }

  async #repairOpen(members: string[], now: number): Promise<void> {
    const { tasks, queue, sweep } = this.#parts
    const ids = members.map(taskIdOfMember)
    // Jobs first: a job goes only after its task has ended, so an open task seen later without one lacks it.
    const jobless = new Set(await queue.withoutJob(ids))
    const headers = await tasks.loadHeaders(ids)
    const gone: string[] = []
    for (const [i, member] of members.entries()) {
      const task = headers[i] ?? null
      const repair = repairOf(timeOfMember(member), task, jobless.has(ids[i] ?? ''), now)
      if (repair === 'drop') gone.push(member)
      if (repair === 'close' && task) await tasks.close([task])
      if (repair === 'expire' && task) await this.#expire(task, now)
      if (repair === 'enqueue' && task) await this.#enqueue(task, now)
      if (repair === 'keep' && task) await tasks.copyEvents(task)
    }
    await sweep.drop('open', gone)
  }

  async #sweepIndex(members: string[], now: number): Promise<void> {
    const times = await this.#parts.tasks.loadTimes(members.map(taskIdOfMember))
    const gone = members.filter((member, i) => isOrphan(timeOfMember(member), times[i] ?? null, now))
    await this.#parts.sweep.drop('index', gone)
  }

  async #expire(task: TaskHeader, now: number): Promise<void> {
    const { tasks, queue, types, metrics, log } = this.#parts
    if ((await tasks.apply(task.id, ended(task, EXPIRED, { now }))).outcome !== 'ok') return
    if (types.has(task.type)) metrics.finished.inc({ type: task.type, state: 'expired' })
    await queue.admission.makeRoom(task)
    // A worker that takes the job in this moment sees that the task has ended.
    await queue.remove(task.id).catch(error => log.debug({ err: error }, 'a job could not be removed'))
    await tasks.close([task])
  }

  async #clearSlots(keys: string[]): Promise<void> {
    await Promise.all(keys.map(key => this.#parts.queue.admission.clearSlots(key)))
  }

  async #enqueue(task: TaskHeader, now: number): Promise<void> {
    const { queue, metrics, log } = this.#parts
    await queue.enqueue({ ...task, delayMs: Math.max((task.runAt ?? 0) - now, 0) })
    metrics.recovered.inc()
    log.warn({ task: task.id, state: task.state }, 'an open task had no job and was queued again')
  }
}

type Repair = 'keep' | 'drop' | 'close' | 'expire' | 'enqueue'

/** What an entry of the open tasks needs; `createdAt` is the entry's own time. */
export function repairOf(
  createdAt: number,
  task: TaskHeader | null,
  isJobless: boolean,
  now: number,
): Repair {
  if (isOrphan(createdAt, task?.createdAt ?? null, now)) return 'drop'
  if (!task || task.createdAt !== createdAt) return 'keep'
  // Whoever ended it was lost before all had followed.
  if (isTerminal(task.state)) return 'close'
  if (isExpired(task, now)) return 'expire'
  return isJobless && now - createdAt > SUBMIT_MS ? 'enqueue' : 'keep'
}

/** An entry without a record, or one that a refused submission left under the id of another task. */
function isOrphan(createdAt: number, recordedAt: number | null, now: number): boolean {
  return recordedAt !== createdAt && now - createdAt > ORPHAN_AFTER_MS
}
