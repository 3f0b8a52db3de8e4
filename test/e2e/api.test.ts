import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { call, expectProblem } from '../support/http.ts'
import { startGateway, startWorker, type TestGateway, type TestProcess } from '../support/processes.ts'
import { startRedis, type TestRedis } from '../support/redis.ts'
import { until } from '../support/until.ts'

let redis: TestRedis
let one: TestGateway
let other: TestGateway
let worker: TestProcess

beforeAll(async () => {
  redis = await startRedis()
  ;[one, other, worker] = await Promise.all([
    startGateway({ redisUrl: redis.url }),
    startGateway({ redisUrl: redis.url }),
    startWorker({ redisUrl: redis.url }),
  ])
})

afterAll(() => redis.close())

const submit = (body: object) => call(`${one.url}/v1/tasks`, { body })
const read = async (id: string) => (await call(`${other.url}/v1/tasks/${id}`)).body
const inState = (id: string, state: string) =>
  until(`${id} is ${state}`, async () => {
    const task = await read(id)
    return task.state === state && task
  })

test('a task that one gateway takes is run and read through another, with its result', async () => {
  const { status, body } = await submit({ type: 'countdown', input: { steps: 3, intervalMs: 1 } })
  expect(status).toBe(202)
  const task = await inState(body.id, 'completed')
  expect(task).toMatchObject({
    type: 'countdown',
    attempt: 1,
    result: { steps: 3 },
    error: null,
    startedAt: expect.any(String),
    finishedAt: expect.any(String),
  })
})

test('who prefers to wait is answered with the result', async () => {
  const { body } = await submit({ type: 'countdown', input: { steps: 5, intervalMs: 50 } })
  const url = `${other.url}/v1/tasks/${body.id}`
  const answer = await call(url, { headers: { Prefer: 'wait=60' } })
  expect(answer.body).toMatchObject({ state: 'completed', result: { steps: 5 } })
  expect(answer.headers.get('preference-applied')).toBe('wait=60')
})

test('a failed task is data: its error is read with 200', async () => {
  const { body } = await submit({ type: 'csv-summary', input: { csv: 'a,b\n"open' } })
  const task = await inState(body.id, 'failed')
  expect(task).toMatchObject({
    result: null,
    error: { code: expect.any(String), message: expect.any(String), retryable: expect.any(Boolean) },
  })
})

test('the types that ship are announced with schemas, and gateways check input against them', async () => {
  const { body } = await call(`${other.url}/v1/task-types`)
  const types = Object.fromEntries(body.types.map((type: { type: string }) => [type.type, type]))
  expect(types).toMatchObject({
    countdown: { inputSchema: { type: 'object' }, attempts: 1, timeoutMs: 3_600_000 },
    'csv-summary': { inputSchema: expect.any(Object) },
  })
  expectProblem(await submit({ type: 'countdown', input: { steps: 0 } }), 422, 'invalid-input', [
    'input.steps',
  ])
  expectProblem(await submit({ type: 'countdown', input: { stepz: 1 } }), 422, 'invalid-input', [
    'input.stepz',
  ])
  // What has a default in the schema may be left out.
  expect((await submit({ type: 'countdown', input: { intervalMs: 1 } })).status).toBe(202)
})

test('a running task is cancelled through the gateway that did not take it', async () => {
  const { body } = await submit({ type: 'countdown', input: { intervalMs: 60_000 } })
  await inState(body.id, 'running')
  const answer = await call(`${other.url}/v1/tasks/${body.id}/cancel`, { body: { reason: 'enough' } })
  expect(answer.status).toBe(202)
  await inState(body.id, 'cancelled')
  const again = await call(`${one.url}/v1/tasks/${body.id}/cancel`, { method: 'POST' })
  expect(again).toMatchObject({ status: 200, body: { state: 'cancelled' } })
  const history = await call(`${one.url}/v1/tasks/${body.id}/events`, {
    headers: { Accept: 'application/json' },
  })
  const types = history.body.events.map(({ type }: { type: string }) => type)
  expect(types).toEqual(['queued', 'started', 'cancelling', 'cancelled'])
})

test('a cancelled task runs again as a new one', async () => {
  const { body } = await submit({ type: 'countdown', input: { steps: 1, intervalMs: 500 } })
  await call(`${one.url}/v1/tasks/${body.id}/cancel`, { method: 'POST' })
  await inState(body.id, 'cancelled')
  const again = await call(`${other.url}/v1/tasks/${body.id}/retry`, { method: 'POST' })
  expect(again.status).toBe(202)
  const task = await inState(again.body.id, 'completed')
  expect(task).toMatchObject({ retryOf: body.id, result: { steps: 1 } })
})

test('a task that waits too long expires', async () => {
  const { body } = await submit({ type: 'countdown', delayMs: 300, expiresInMs: 1 })
  const task = await inState(body.id, 'expired')
  expect(task).toMatchObject({ startedAt: null, finishedAt: expect.any(String) })
})

test('tasks are found by their state, newest first', async () => {
  const ids = []
  for (let i = 0; i < 3; i++) {
    const { body } = await submit({ type: 'countdown', input: { steps: 1, intervalMs: 1 } })
    ids.unshift(body.id)
    await inState(body.id, 'completed')
  }
  const { body } = await call(`${other.url}/v1/tasks?state=completed&type=countdown&limit=3`)
  expect(body.tasks.map(({ id }: { id: string }) => id)).toEqual(ids)
})

test('a gateway without a port to listen on says which variable is wrong', async () => {
  const { port } = new URL(one.url)
  const failed = startGateway({ redisUrl: redis.url, env: { PORT: port } })
  await expect(failed).rejects.toMatchObject({
    code: 1,
    stderr: expect.stringMatching(/^PORT: [^\n]*in use\n$/),
  })
})

test('SIGTERM ends every process cleanly', async () => {
  expect(await Promise.all([worker.stop(), one.stop(), other.stop()])).toEqual([0, 0, 0])
})
