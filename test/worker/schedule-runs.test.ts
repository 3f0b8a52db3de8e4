import { randomUUID } from 'node:crypto'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals'
import { Worker } from 'bullmq'
import { Registry } from 'prom-client'
import { INDEX_KEY, QUEUE_PREFIX, SCHEDULE_QUEUE_NAME, taskIdOfMember } from '../../shared/keys.ts'
import { connectRedis } from '../../shared/redis-connection.ts'
import { scheduledTaskId, type TaskTemplate } from '../../shared/schedule.ts'
import { dueAtOf, Schedules } from '../../shared/schedules.ts'
import { createWorkerMetrics } from '../../worker/metrics.ts'
import { ScheduleRuns } from '../../worker/schedule-runs.ts'
import { until } from '../support/until.ts'
import { type Broker, silent, startBroker } from './worker-fixture.ts'

const HOUR_MS = 3_600_000
const EVERY_MS = 100

const task: TaskTemplate = {
  type: 'probe',
  input: {},
  priority: 0,
  attempts: 1,
  backoff: null,
  timeoutMs: 60_000,
  expiresInMs: null,
  retainMs: 600_000,
}

let broker: Broker
let schedules: Schedules
const stops: (() => Promise<void>)[] = []

beforeAll(async () => {
  broker = await startBroker()
  schedules = new Schedules(broker.redis)
})
afterAll(() => broker.close())
beforeEach(() => broker.redis.flushall())
afterEach(async () => {
  await Promise.all(stops.splice(0).map(stop => stop()))
})

const metrics = createWorkerMetrics(new Registry(), [])

/** The schedules' part of a worker, on a connection of its own. */
function startRuns(): void {
  const redis = connectRedis(broker.server.url, 'worker', silent)
  const { queue } = broker
  const runs = new ScheduleRuns({ redis, schedules: new Schedules(redis), queue, metrics, log: silent })
  runs.start()
  stops.push(async () => {
    await runs.stop()
    redis.disconnect()
  })
}

/** Takes the next run as a worker does that then dies. */
async function takeAndDie() {
  const redis = connectRedis(broker.server.url, 'worker', silent)
  const worker = new Worker(SCHEDULE_QUEUE_NAME, null, {
    connection: redis,
    prefix: QUEUE_PREFIX,
    autorun: false,
    lockDuration: 100,
  })
  const job = await until('a run that is due', () => worker.getNextJob(randomUUID()))
  await worker.close()
  redis.disconnect()
  return job
}

/** When the runs were due whose tasks there are, oldest first. */
async function submitted(): Promise<number[]> {
  const ids = (await broker.redis.zrange(INDEX_KEY, '0', '-1')).map(taskIdOfMember)
  return ids.map(id => Number(id.slice(id.lastIndexOf('-') + 1)))
}
const runsSubmitted = (count: number) =>
  until(`${count} runs`, async () => {
    const dueAts = await submitted()
    return dueAts.length >= count && dueAts
  })
const allRunsTaken = () =>
  until('no run under way', async () => (await broker.redis.llen('{mr}:schedules:active')) === 0)

describe('the runs of a schedule', () => {
  test('are tasks that know it, one a run, with ten workers', async () => {
    await schedules.put('often', { timing: { everyMs: EVERY_MS }, task })
    for (let i = 0; i < 10; i++) startRuns()
    const dueAts = await runsSubmitted(20)
    const [first = 0] = dueAts
    expect(new Set(dueAts).size).toBe(dueAts.length)
    const counted = async () => (await metrics.submitted.get()).values[0]?.value ?? 0
    await until('all are counted', async () => (await counted()) === (await submitted()).length)
    expect(dueAts.filter(dueAt => (dueAt - first) % EVERY_MS !== 0)).toEqual([])
    const id = scheduledTaskId('often', first)
    expect(await broker.tasks.load(id)).toMatchObject({ type: 'probe', state: 'queued', scheduleId: 'often' })
    expect(await broker.types(id)).toEqual(['queued'])
    expect(await schedules.get('often')).toMatchObject({
      lastTaskId: expect.stringMatching(/^often-\d{13}$/),
    })
  })

  test.each([
    ['before', false],
    ['after', true],
  ])('are one task each when a worker dies %s it has submitted it', async (_, hasSubmitted) => {
    await schedules.put('often', { timing: { everyMs: EVERY_MS }, task })
    const job = await takeAndDie()
    const id = scheduledTaskId('often', dueAtOf(job))
    if (hasSubmitted) await broker.queue.submit({ ...task, id, delayMs: 0, scheduleId: 'often' })
    startRuns()
    await until('the run of the dead worker', async () => (await submitted()).includes(dueAtOf(job)))
    await until('its job', async () => !(await broker.redis.exists(`{mr}:schedules:${job.id}`)))
    expect(await broker.types(id)).toEqual(['queued'])
    expect((await submitted()).filter(dueAt => dueAt === dueAtOf(job))).toHaveLength(1)
  })

  test('go on by themselves after all workers were away: one late run, and no burst', async () => {
    const { schedule } = await schedules.put('often', { timing: { everyMs: EVERY_MS }, task })
    await until('ten missed runs', () => Date.now() > schedule.nextRunAt + 10 * EVERY_MS)
    const back = Date.now()
    startRuns()
    const [late, next = 0, afterNext = 0] = await runsSubmitted(3)
    expect(late).toBe(schedule.nextRunAt)
    expect(next).toBeGreaterThan(back)
    expect((next - schedule.nextRunAt) % EVERY_MS).toBe(0)
    expect(afterNext).toBeGreaterThan(next)
  })

  test('keep to an interval that was changed, also when some were missed', async () => {
    const anHourBefore = Date.now() - HOUR_MS
    await schedules.put('often', { timing: { everyMs: HOUR_MS }, task }, anHourBefore - 1)
    const { schedule } = await schedules.put('often', { timing: { everyMs: EVERY_MS }, task })
    await until('missed runs', () => Date.now() > schedule.nextRunAt + 3 * EVERY_MS)
    startRuns()
    await runsSubmitted(3)
  })

  test('go on while the schedule is put again and again, removed, and put', async () => {
    const timings = [
      { everyMs: EVERY_MS },
      { everyMs: 2 * EVERY_MS },
      { cron: '* * * * * *', timeZone: 'UTC' },
    ]
    for (let i = 0; i < 3; i++) startRuns()
    for (let round = 0; round < 30; round++) {
      const puts = Array.from({ length: 5 }, (_, i) => {
        const timing = timings[(round + i) % timings.length] ?? { everyMs: EVERY_MS }
        return schedules.put('often', { timing, task })
      })
      await Promise.all(round % 3 === 0 ? [...puts, schedules.remove('often')] : puts)
    }
    await schedules.put('often', { timing: { everyMs: EVERY_MS }, task })
    const before = (await submitted()).length
    const dueAts = await runsSubmitted(before + 5)
    expect(new Set(dueAts).size).toBe(dueAts.length)
    expect(await broker.redis.zcard('{mr}:schedules:delayed')).toBeLessThanOrEqual(1)
  })

  test('submit the task that the schedule has when they are carried out', async () => {
    await schedules.put('often', { timing: { everyMs: EVERY_MS }, task })
    const job = await takeAndDie()
    await schedules.put('often', { timing: { everyMs: HOUR_MS }, task: { ...task, priority: 9 } })
    startRuns()
    await runsSubmitted(1)
    const id = scheduledTaskId('often', dueAtOf(job))
    expect(await broker.tasks.load(id)).toMatchObject({ priority: 9 })
  })

  test('end when the schedule is removed, also with one that is under way', async () => {
    await schedules.put('often', { timing: { everyMs: EVERY_MS }, task })
    await takeAndDie()
    expect(await schedules.remove('often')).toBe(true)
    startRuns()
    await allRunsTaken()
    expect(await submitted()).toEqual([])
    expect(await broker.redis.keys('{mr}:schedules:repeat*')).toEqual([])
  })

  test('leave a task alone that somebody else gave the id', async () => {
    await schedules.put('often', { timing: { everyMs: EVERY_MS }, task })
    const job = await takeAndDie()
    const id = scheduledTaskId('often', dueAtOf(job))
    await broker.queue.submit({ ...task, id, type: 'other', delayMs: 0 })
    startRuns()
    await until('its job', async () => !(await broker.redis.exists(`{mr}:schedules:${job.id}`)))
    expect(await broker.tasks.load(id)).toMatchObject({ type: 'other', scheduleId: null })
  })
})
