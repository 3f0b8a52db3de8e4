// What a worker measures. No task id in a label, `type` only for the handlers that it has loaded.

import { Counter, Gauge, Histogram, type Registry } from 'prom-client'
import { TERMINAL_STATES } from '../shared/task.ts'
import type { QueueState } from './queue-state.ts'

/** From a quick look-up to an hour-long job, in seconds. */
const DURATION_BUCKETS = [0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300, 900, 3_600, 14_400]
const WAIT_BUCKETS = [0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300, 900, 3_600]

const CALLBACK_OUTCOMES = ['delivered', 'failed', 'dead'] as const

export type WorkerMetrics = ReturnType<typeof createWorkerMetrics>

/** `types`: the handlers that are loaded; their counters begin at 0, so that a first one shows as a rise. */
export function createWorkerMetrics(registry: Registry, types: Iterable<string>) {
  const registers = [registry]
  const metrics = {
    running: new Gauge({
      name: 'millrace_tasks_running',
      help: 'Tasks whose handler runs on this worker.',
      labelNames: ['type'],
      registers,
    }),
    finished: new Counter({
      name: 'millrace_tasks_finished_total',
      help: 'Tasks that this worker brought to their end.',
      labelNames: ['type', 'state'],
      registers,
    }),
    duration: new Histogram({
      name: 'millrace_task_duration_seconds',
      help: 'From the first start of a task to its end, all attempts and the pauses between them included.',
      labelNames: ['type', 'state'],
      buckets: DURATION_BUCKETS,
      registers,
    }),
    wait: new Histogram({
      name: 'millrace_task_wait_seconds',
      help: 'From the moment in which an attempt could begin to its start.',
      labelNames: ['type'],
      buckets: WAIT_BUCKETS,
      registers,
    }),
    retries: new Counter({
      name: 'millrace_task_retries_total',
      help: 'Failed attempts that are followed by another one.',
      labelNames: ['type'],
      registers,
    }),
    submitted: new Counter({
      name: 'millrace_tasks_submitted_total',
      help: 'Tasks that this worker submitted for schedules; gateways count those that they accept.',
      labelNames: ['type'],
      registers,
    }),
    recovered: new Counter({
      name: 'millrace_tasks_recovered_total',
      help: 'Tasks that this worker took up again after their worker or their job was lost.',
      registers,
    }),
    callbacks: new Counter({
      name: 'millrace_callbacks_total',
      help: 'Attempts of this worker to deliver a callback: delivered, failed and to be tried again, dead (given up).',
      labelNames: ['outcome'],
      registers,
    }),
  }
  for (const outcome of CALLBACK_OUTCOMES) metrics.callbacks.inc({ outcome }, 0)
  for (const type of types) {
    metrics.running.set({ type }, 0)
    metrics.retries.inc({ type }, 0)
    for (const state of TERMINAL_STATES) metrics.finished.inc({ type, state }, 0)
  }
  return metrics
}

/** The queue as a whole, read at each scrape; without samples while Redis does not answer. */
export function measureQueue(registry: Registry, queueState: QueueState): void {
  new Gauge({
    name: 'millrace_queue_tasks',
    help: 'Tasks that wait to be run, run, and wait for their time, over all workers.',
    labelNames: ['state'],
    registers: [registry],
    async collect() {
      const state = await queueState.read()
      this.reset()
      for (const [name, count] of Object.entries(state?.counts ?? {})) this.set({ state: name }, count)
    },
  })
  new Gauge({
    name: 'millrace_queue_oldest_seconds',
    help: 'How long the oldest waiting task has been due: what to scale workers on.',
    registers: [registry],
    async collect() {
      const state = await queueState.read()
      if (state) this.set(state.oldestMs / 1_000)
      else this.remove()
    },
  })
}

/** The queue of callbacks as a whole; `read` answers null while Redis does not. */
export function measureCallbacks(
  registry: Registry,
  read: () => Promise<Record<string, number> | null>,
): void {
  new Gauge({
    name: 'millrace_callback_queue',
    help: 'Callbacks that wait for an attempt, are being sent, and have been given up lately, over all workers.',
    labelNames: ['state'],
    registers: [registry],
    async collect() {
      const counts = await read()
      this.reset()
      for (const [state, count] of Object.entries(counts ?? {})) this.set({ state }, count)
    },
  })
}
