// How fast tasks are taken, one by one and in batches, and what a queued task leaves in Redis. Nobody runs them.

import { INDEX_KEY } from '../../shared/keys.ts'
import { announceTaskTypes } from '../../shared/task-types.ts'
import { limitsOf } from '../deliver.ts'
import { measured } from '../measured.ts'
import type { ServerKind } from '../server.ts'
import { onSubmitStage, type SubmitStage } from '../stage.ts'
import type { Measure, RunContext, Side, Turns, Workload } from '../workload.ts'

const QUEUED_TASKS = 100_000

/** It is code that is measured, and of the gateway more than of the reference. */
const WARM_UPS = 3

/** Of the type whose tasks are submitted: input is checked, as usual. */
const INPUT_SCHEMA = {
  type: 'object',
  properties: {
    order: { type: 'integer', minimum: 1 },
    customer: { type: 'string', maxLength: 100 },
    text: { type: 'string' },
  },
  required: ['order', 'customer'],
  additionalProperties: false,
}

const SERVERS: Record<Side, ServerKind | null> = {
  reference: null,
  product: 'gateway',
  ceiling: 'raw-queue',
}

interface Load {
  readonly concurrency: number
  readonly batch: number
}

async function* submitting(stage: SubmitStage, side: Side, load: Load, context: RunContext): Turns {
  const { scale, part } = context
  await prepare(stage, load)
  await stage.submitter.call('submit', { durationMs: WARM_UPS * scale.warmUpMs })
  for (;;) {
    await empty(stage)
    const { result, cpu } = await measured(stage, context, () =>
      stage.submitter.call('submit', { durationMs: scale.measureMs * part }),
    )
    yield {
      figures: {
        tasksPerSecond: result.tasks / result.seconds,
        serverMicrosPerTask: cpu.serverUs / result.tasks,
        redisMicrosPerTask: cpu.redisUs / result.tasks,
        answerP50Ms: result.answerP50Ms,
        answerP99Ms: result.answerP99Ms,
      },
      ...(side === 'product' && { delivery: await accepted(stage, result.tasks) }),
      // Where there is no server it is what is measured.
      limits: stage.server ? limitsOf(result) : [],
    }
  }
}

async function* queuedTasks(stage: SubmitStage, context: RunContext): Turns {
  const tasks = Math.round(QUEUED_TASKS * context.scale.share)
  await prepare(stage, { concurrency: 1, batch: 1_000 })
  // What there is but once, scripts among it, is there then.
  await stage.submitter.call('submit', { tasks: 1_000 })
  const before = await usedBytes(stage)
  const { result } = await measured(stage, context, () => stage.submitter.call('submit', { tasks }))
  yield { figures: { bytesPerTask: ((await usedBytes(stage)) - before) / result.tasks }, limits: [] }
}

async function prepare(stage: SubmitStage, load: Load): Promise<void> {
  await empty(stage)
  const port = stage.server?.port ?? 0
  await stage.submitter.call('connect', { port, redisUrl: stage.redis.url, ...load })
}

/** No turn finds more tasks than another; both commands go out together, so that no gateway sees a type missing. */
async function empty({ client }: SubmitStage): Promise<void> {
  const type = { type: 'noop', inputSchema: INPUT_SCHEMA, attempts: 1, timeoutMs: 60_000 }
  await Promise.all([client.flushall(), announceTaskTypes(client, [type])])
}

/** Whether every task that was accepted is there, and no other. */
async function accepted({ client }: SubmitStage, expected: number) {
  const received = await client.zcard(INDEX_KEY)
  const missing = Math.max(expected - received, 0)
  const doubled = Math.max(received - expected, 0)
  return { expected, received, missing, doubled, reordered: 0, gaps: 0, closed: 0 }
}

async function usedBytes({ client }: SubmitStage): Promise<number> {
  return Number(/^used_memory:(\d+)/m.exec(await client.info('memory'))?.[1])
}

interface Submitting {
  readonly name: string
  readonly title: string
  readonly load: Load
  readonly turnsPerRound: number
  /** Of tasks accepted, at least. */
  readonly ratio: number
}

function submissions({ name, title, load, turnsPerRound, ratio }: Submitting): Workload {
  const call = load.batch ? 'queue.addBulk' : 'queue.add'
  const measures: Measure[] = [
    {
      figure: 'tasksPerSecond',
      label: 'tasks accepted',
      unit: '1/s',
      better: 'more',
      target: { kind: 'ratio-at-least', ratio },
    },
    { figure: 'serverMicrosPerTask', label: 'CPU of gateway or producer a task', unit: 'µs', better: 'less' },
    { figure: 'redisMicrosPerTask', label: 'CPU of Redis a task', unit: 'µs', better: 'less' },
    { figure: 'answerP99Ms', label: 'request to answer, p99', unit: 'ms', better: 'less' },
  ]
  const measure = (side: Side, context: RunContext) =>
    onSubmitStage(side, SERVERS[side], stage => submitting(stage, side, load, context))
  const ceiling = `raw http + ${call}`
  return { name, title, reference: call, ceiling, turnsPerRound, staysUp: true, measures, measure }
}

export const SUBMISSIONS: readonly Workload[] = [
  submissions({
    name: 'submit',
    title: 'tasks submitted one by one, 50 at a time',
    load: { concurrency: 50, batch: 0 },
    turnsPerRound: 10,
    ratio: 0.4,
  }),
  submissions({
    name: 'submit-batch',
    title: 'batches of 1,000 tasks, one at a time',
    load: { concurrency: 1, batch: 1_000 },
    turnsPerRound: 10,
    ratio: 0.7,
  }),
  submissions({
    name: 'submit-batch-4',
    title: 'batches of 1,000 tasks, four at a time',
    load: { concurrency: 4, batch: 1_000 },
    turnsPerRound: 6,
    ratio: 0.7,
  }),
  {
    name: 'queued-tasks',
    title: '100,000 queued tasks',
    reference: 'jobs of bare BullMQ',
    measures: [
      {
        figure: 'bytesPerTask',
        label: 'memory of Redis a task',
        unit: 'bytes',
        better: 'less',
        target: { kind: 'at-most', value: 2_560 },
      },
    ],
    measure: (side, context) => onSubmitStage(side, SERVERS[side], stage => queuedTasks(stage, context)),
  },
]
