// How fast tasks are taken, one by one and in batches, and what a queued task leaves in Redis. Nobody runs them.

import { Redis } from 'ioredis'
import { INDEX_KEY } from '../../shared/keys.ts'
import { announceTaskTypes } from '../../shared/task-types.ts'
import { limitsOf } from '../deliver.ts'
import type { SubmitRequest } from '../load/submit-loop.ts'
import { onSubmitStage, type SubmitStage } from '../stage.ts'
import type { Measure, Run, RunContext, Side, Workload } from '../workload.ts'

const QUEUED_TASKS = 100_000

/** It is code that is measured, and of the gateway more than of the reference. */
const WARM_UPS = 4

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

interface Load {
  readonly concurrency: number
  readonly batch: number
}

async function submitting(stage: SubmitStage, side: Side, load: Load, context: RunContext): Promise<Run> {
  const { scale, profile } = context
  const redis = new Redis(stage.redis.url)
  try {
    await prepare(stage, redis, load)
    const warmUp = await stage.submitter.call('submit', { durationMs: WARM_UPS * scale.warmUpMs })
    if (profile) await stage.server?.startProfile()
    const before = stage.serverCpuMs()
    const submitted = await stage.submitter.call('submit', { durationMs: scale.measureMs })
    const after = stage.serverCpuMs()
    if (profile) await stage.server?.endProfile(profile)
    return {
      figures: {
        tasksPerSecond: submitted.tasks / submitted.seconds,
        serverMicrosPerTask: ((after.server - before.server) * 1_000) / submitted.tasks,
        redisMicrosPerTask: ((after.redis - before.redis) * 1_000) / submitted.tasks,
        answerP50Ms: submitted.answerP50Ms,
        answerP99Ms: submitted.answerP99Ms,
      },
      ...(side === 'product' && { delivery: await accepted(redis, warmUp.tasks + submitted.tasks) }),
      // The reference has no process but this one.
      limits: side === 'product' ? limitsOf(submitted) : [],
    }
  } finally {
    redis.disconnect()
  }
}

async function queuedTasks(stage: SubmitStage, { scale, profile }: RunContext): Promise<Run> {
  const redis = new Redis(stage.redis.url)
  try {
    const tasks = Math.round(QUEUED_TASKS * scale.share)
    await prepare(stage, redis, { concurrency: 1, batch: 1_000 })
    // What there is but once, scripts among it, is there then.
    await stage.submitter.call('submit', { tasks: 1_000 })
    const before = await usedBytes(redis)
    if (profile) await stage.server?.startProfile()
    const submitted = await stage.submitter.call('submit', { tasks } satisfies SubmitRequest)
    if (profile) await stage.server?.endProfile(profile)
    return { figures: { bytesPerTask: ((await usedBytes(redis)) - before) / submitted.tasks }, limits: [] }
  } finally {
    redis.disconnect()
  }
}

async function prepare(stage: SubmitStage, redis: Redis, load: Load): Promise<void> {
  await announceTaskTypes(redis, [
    { type: 'noop', inputSchema: INPUT_SCHEMA, attempts: 1, timeoutMs: 60_000 },
  ])
  await stage.submitter.call('connect', {
    port: stage.server?.port ?? 0,
    redisUrl: stage.redis.url,
    ...load,
  })
}

/** Whether every task that was accepted is there, and no other. */
async function accepted(redis: Redis, expected: number) {
  const received = await redis.zcard(INDEX_KEY)
  const missing = Math.max(expected - received, 0)
  const doubled = Math.max(received - expected, 0)
  return { expected, received, missing, doubled, reordered: 0, gaps: 0, closed: 0 }
}

async function usedBytes(redis: Redis): Promise<number> {
  return Number(/^used_memory:(\d+)/m.exec(await redis.info('memory'))?.[1])
}

function rate(name: string, title: string, reference: string, load: Load, ratio: number): Workload {
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
  const run = (side: Side, context: RunContext) =>
    onSubmitStage(side, stage => submitting(stage, side, load, context))
  return { name, title, reference, measures, run }
}

export const SUBMISSIONS: readonly Workload[] = [
  rate('submit', 'tasks submitted one by one, 50 at a time', 'queue.add', { concurrency: 50, batch: 0 }, 0.4),
  rate(
    'submit-batch',
    'batches of 1,000 tasks, one at a time',
    'queue.addBulk',
    { concurrency: 1, batch: 1_000 },
    0.7,
  ),
  rate(
    'submit-batch-4',
    'batches of 1,000 tasks, four at a time',
    'queue.addBulk',
    { concurrency: 4, batch: 1_000 },
    0.7,
  ),
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
    run: (side, context) => onSubmitStage(side, stage => queuedTasks(stage, context)),
  },
]
