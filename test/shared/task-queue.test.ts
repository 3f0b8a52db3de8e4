import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { logKey } from '../../shared/keys.ts'
import type { TaskRequest } from '../../shared/task.ts'
import { type Broker, startBroker } from '../worker/worker-fixture.ts'

let broker: Broker

beforeAll(async () => {
  broker = await startBroker()
})
afterAll(() => broker.close())

function request(priority: number): TaskRequest {
  return {
    id: randomUUID(),
    type: 'probe',
    input: {},
    delayMs: 0,
    priority,
    attempts: 1,
    backoff: null,
    timeoutMs: 60_000,
    expiresInMs: null,
    retainMs: 60_000,
  }
}

test('of tasks that are submitted together one that can not be queued is undone, and no other', async () => {
  // Where BullMQ keeps jobs with a priority.
  await broker.redis.set('{mr}:tasks:prioritized', 'no sorted set')
  const requests = [request(0), request(1), request(0)]
  const outcomes = await broker.queue.submitAll(requests)
  expect(outcomes[1]).toBeInstanceOf(Error)
  for (const i of [0, 2]) {
    expect(outcomes[i]).toMatchObject({ id: requests[i]!.id, state: 'queued' })
    expect(await broker.tasks.load(requests[i]!.id)).toMatchObject({ state: 'queued' })
  }
  expect(await broker.tasks.load(requests[1]!.id)).toBeNull()
  expect(await broker.queue.withoutJob([requests[0]!.id, requests[2]!.id])).toEqual([])
})

test('tasks that are submitted at the same time share one command, and no failure', async () => {
  await broker.queue.submit(request(0))
  const scripts = async () =>
    Number(/cmdstat_evalsha:calls=(\d+)/.exec(await broker.redis.info('commandstats'))?.[1])
  const before = await scripts()
  const requests = Array.from({ length: 10 }, () => request(0))
  await broker.redis.set(logKey(`task:${requests[3]!.id}`), 'no stream')
  const outcomes = await Promise.allSettled(requests.map(one => broker.queue.submit(one)))
  expect((await scripts()) - before).toBe(1)
  for (const [i, outcome] of outcomes.entries()) {
    if (i === 3) expect(outcome).toMatchObject({ reason: { message: expect.stringContaining('WRONGTYPE') } })
    else expect(outcome).toMatchObject({ value: { id: requests[i]!.id, state: 'queued' } })
  }
  const ids = requests.map(({ id }) => id)
  expect(await broker.queue.withoutJob(ids)).toEqual([ids[3]])
})
