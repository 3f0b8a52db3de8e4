import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { Redis } from 'ioredis'
import { RedisEventLog } from '../../../shared/redis-event-log.ts'
import { TaskStore } from '../../../shared/redis-tasks.ts'
import { started } from '../../../shared/task-transitions.ts'
import { announceTaskTypes } from '../../../shared/task-types.ts'
import { call, expectProblem } from '../../support/http.ts'
import { startGateway, type TestGateway } from '../../support/processes.ts'
import { startRedis, type TestRedis } from '../../support/redis.ts'

let server: TestRedis
let redis: Redis
let gateway: TestGateway

beforeAll(async () => {
  server = await startRedis()
  redis = new Redis(server.url)
  gateway = await startGateway({ redisUrl: server.url })
  await announceTaskTypes(redis, [{ type: 'a', inputSchema: null, attempts: 1, timeoutMs: 1_000 }])
})

afterAll(async () => {
  redis.disconnect()
  await server.close()
})

const submit = async (more: object = {}): Promise<string> =>
  (await call(`${gateway.url}/v1/tasks`, { body: { type: 'a', ...more } })).body.id

const cancel = (id: string, body?: unknown) =>
  call(`${gateway.url}/v1/tasks/${id}/cancel`, { method: 'POST', body })

const eventsOf = async (id: string): Promise<{ type: string; data: unknown }[]> => {
  const headers = { Accept: 'application/json' }
  return (await call(`${gateway.url}/v1/tasks/${id}/events`, { headers })).body.events
}

test.each([
  ['queued', {}],
  ['scheduled', { delayMs: 60_000 }],
])('a %s task is cancelled at once and its job goes', async (_, more) => {
  const id = await submit(more)
  const answer = await cancel(id, { reason: 'not needed' })
  expect(answer).toMatchObject({
    status: 202,
    body: { id, state: 'cancelled', finishedAt: expect.any(String) },
  })
  expect((await eventsOf(id)).at(-1)).toMatchObject({ type: 'cancelled', data: { reason: 'not needed' } })
  expect(await redis.exists(`{mr}:tasks:task.${id}`)).toBe(0)
})

test('a task that has ended is answered as it is, and nothing is added', async () => {
  const id = await submit()
  await cancel(id)
  const before = await eventsOf(id)
  const again = await cancel(id, { reason: 'again' })
  expect(again).toMatchObject({ status: 200, body: { id, state: 'cancelled' } })
  expect(await eventsOf(id)).toEqual(before)
})

test('a running task is told, once, and its worker hears of it', async () => {
  const id = await submit()
  const retention = { channels: { maxEvents: 100, ttlMs: 0 }, taskMaxEvents: 100 }
  const tasks = new TaskStore(redis, new RedisEventLog(redis, retention))
  const record = (await tasks.load(id))!
  await tasks.apply(id, started(record, { worker: 'w', token: 't', now: Date.now() }))
  const worker = redis.duplicate()
  const heard: string[] = []
  worker.on('message', (_, message) => heard.push(message))
  await worker.subscribe('mr:cancel')

  const answers = [await cancel(id, { reason: 'stop' }), await cancel(id)]
  await worker.ping()
  worker.disconnect()
  expect(answers).toMatchObject([
    { status: 202, body: { state: 'running' } },
    { status: 202, body: { state: 'running' } },
  ])
  expect(heard).toEqual([id])
  const types = (await eventsOf(id)).map(({ type }) => type)
  expect(types).toEqual(['queued', 'started', 'cancelling'])
  expect((await tasks.load(id))!.cancelRequested).toBe(true)
})

test('many cancellations at once end a task once', async () => {
  const id = await submit()
  const answers = await Promise.all(Array.from({ length: 20 }, () => cancel(id)))
  for (const { status, body } of answers) {
    expect([200, 202]).toContain(status)
    expect(body.state).toBe('cancelled')
  }
  expect((await eventsOf(id)).map(({ type }) => type)).toEqual(['queued', 'cancelled'])
})

test('an unknown task is not found', async () => {
  expectProblem(await cancel('no-such-task'), 404, 'task-not-found')
  expectProblem(await cancel('12345'), 404, 'task-not-found')
})

test.each([
  [{ reason: 7 }, ['reason']],
  [{ reason: 'x'.repeat(1_001) }, ['reason']],
  [{ why: 'so' }, ['why']],
])('the body %j is refused with its path', async (body, paths) => {
  const id = await submit()
  expectProblem(await cancel(id, body), 422, 'invalid-body', paths)
  expect(await eventsOf(id)).toHaveLength(1)
})
