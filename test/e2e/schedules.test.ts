// A schedule on real processes that die.

import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { call } from '../support/http.ts'
import { startGateway, startWorker, type TestGateway, type TestProcess } from '../support/processes.ts'
import { startRedis, type TestRedis } from '../support/redis.ts'
import { until } from '../support/until.ts'

let redis: TestRedis
let gateway: TestGateway

beforeAll(async () => {
  redis = await startRedis()
  gateway = await startGateway({ redisUrl: redis.url })
})
afterAll(() => redis.close())

const startWorkers = (count: number): Promise<TestProcess[]> =>
  Promise.all(Array.from({ length: count }, () => startWorker({ redisUrl: redis.url })))

interface Task {
  id: string
  state: string
  scheduleId: string
}

async function completed(count: number): Promise<Task[]> {
  return until(`${count} completed runs`, async () => {
    const { status, body } = await call(`${gateway.url}/v1/tasks?limit=100&state=completed`)
    return status === 200 && body.tasks.length >= count && body.tasks
  })
}

test('a schedule goes on after its workers and Redis were killed, one task a run', async () => {
  const workers = await startWorkers(3)
  const task = { type: 'countdown', input: { steps: 1, intervalMs: 0 } }
  const body = { cron: '* * * * * *', task }
  expect(await call(`${gateway.url}/v1/schedules/tick`, { method: 'PUT', body })).toMatchObject({
    status: 201,
  })
  await completed(2)
  await Promise.all(workers.map(worker => worker.kill()))
  await redis.kill()
  await redis.restart()
  const before = Date.now()
  const others = await startWorkers(2)
  const tasks = await completed(5)
  const dueAts = tasks.map(({ id }) => Number(/^tick-(\d{13})$/.exec(id)?.[1]))
  expect(new Set(dueAts).size).toBe(tasks.length)
  expect(tasks.filter(({ scheduleId }) => scheduleId !== 'tick')).toEqual([])
  expect(dueAts.filter(dueAt => dueAt % 1_000 !== 0)).toEqual([])
  expect(Math.max(...dueAts)).toBeGreaterThan(before)
  const schedule = await call(`${gateway.url}/v1/schedules/tick`)
  expect(schedule.body.lastTaskId).toMatch(/^tick-\d{13}$/)
  expect(await Promise.all(others.map(worker => worker.stop()))).toEqual([0, 0])
})
