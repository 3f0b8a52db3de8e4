// The limit of a concurrency key on worker processes that die.

import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { projectRoot } from '../../dev/project-root.ts'
import { call } from '../support/http.ts'
import { startGateway, startWorker, type TestProcess } from '../support/processes.ts'
import { until } from '../support/until.ts'
import { type Broker, startBroker, type TaskEvent } from '../worker/worker-fixture.ts'

const LIMIT = 3
const env = { MILLRACE_TASKS_DIR: join(projectRoot(), 'test/e2e/tasks') }

let broker: Broker
beforeAll(async () => {
  broker = await startBroker()
})
afterAll(() => broker.close())

const launch = (): Promise<TestProcess> => startWorker({ redisUrl: broker.server.url, env })

/** How many tasks ran at once at most, by their events: each from its first start to its end. */
function mostAtOnce(logs: TaskEvent[][]): number {
  const changes = logs
    .flatMap(events => [
      { time: events.find(({ type }) => type === 'started')?.time ?? 0, by: 1 },
      { time: events.at(-1)?.time ?? 0, by: -1 },
    ])
    .sort((a, b) => a.time - b.time || a.by - b.by)
  let now = 0
  return Math.max(...changes.map(({ by }) => (now += by)))
}

test('it holds, and no slot is lost, when workers are killed in the middle of tasks', async () => {
  const [first, second] = await Promise.all([launch(), launch()])
  const task = {
    type: 'ticker',
    input: { count: 10, intervalMs: 30 },
    concurrencyKey: 'acme',
    concurrencyLimit: LIMIT,
  }
  const ids = await Promise.all(Array.from({ length: 15 }, () => broker.submit(task)))
  const begun = await until('the first tasks to run', async () => {
    const states = await broker.tasks.loadHeaders(ids)
    return states.filter(header => header?.state === 'running').length === LIMIT
  })
  expect(begun).toBe(true)
  await Promise.all([first.kill(), second.kill()])
  const others = await Promise.all([launch(), launch()])
  const ended = await Promise.all(ids.map(id => broker.ended(id)))
  expect(ended.filter(({ state }) => state !== 'completed')).toEqual([])
  const logs = await Promise.all(ids.map(id => broker.events(id)))
  expect(logs.flat().filter(({ type }) => type === 'started').length).toBeGreaterThan(ids.length)
  expect(mostAtOnce(logs)).toBe(LIMIT)
  await until('the key to be forgotten', async () => {
    const [keys, slots] = [
      await broker.redis.zcard('{mr}:keys'),
      await broker.redis.exists('{mr}:key:acme:slots'),
    ]
    return keys === 0 && slots === 0
  })
  await Promise.all(others.map(worker => worker.stop()))
}, 60_000)

test('a handler that says so runs no more tasks at once, however many workers there are', async () => {
  await Promise.all([launch(), launch()])
  const gateway = await startGateway({ redisUrl: broker.server.url })
  const submissions = Array.from({ length: 8 }, () =>
    call(`${gateway.url}/v1/tasks`, { body: { type: 'two-at-once', input: { count: 5, intervalMs: 20 } } }),
  )
  const ids = (await Promise.all(submissions)).map(({ body }) => body.id as string)
  await Promise.all(ids.map(id => broker.ended(id)))
  expect(mostAtOnce(await Promise.all(ids.map(id => broker.events(id))))).toBe(2)
})
