import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { Redis } from 'ioredis'
import { INDEX_KEY, taskKey } from '../../../shared/keys.ts'
import type { TaskRecord } from '../../../shared/task.ts'
import { parseTaskFields } from '../../../shared/task-record.ts'
import { announceTaskTypes } from '../../../shared/task-types.ts'
import { call, expectProblem } from '../../support/http.ts'
import { startGateway, type TestGateway } from '../../support/processes.ts'
import { startRedis, type TestRedis } from '../../support/redis.ts'

let server: TestRedis
let redis: Redis
let gateway: TestGateway

const inputSchema = { type: 'object', properties: { n: { type: 'integer' } }, required: ['n'] }
const announce = (schema: object = inputSchema) =>
  announceTaskTypes(redis, [{ type: 'a', inputSchema: schema, attempts: 1, timeoutMs: 60_000 }])

beforeAll(async () => {
  server = await startRedis({ appendFsync: 'everysec' })
  redis = new Redis(server.url)
  await announce()
  gateway = await startGateway({ redisUrl: server.url })
})

afterAll(async () => {
  redis.disconnect()
  await server.close()
})

const retry = (id: string, headers: Record<string, string> = {}, body?: unknown) =>
  call(`${gateway.url}/v1/tasks/${id}/retry`, {
    method: 'POST',
    headers,
    ...(body !== undefined && { body }),
  })

/** A task as it is after its end; all else as it was submitted. */
async function taskIn(state: string, fields: object = {}): Promise<string> {
  const body = { type: 'a', input: { n: 1 }, ...fields }
  const answer = await call(`${gateway.url}/v1/tasks`, { body })
  expect(answer.status).toBe(202)
  await redis.hset(taskKey(answer.body.id), { state, attempt: 2, result: '1', finishedAt: Date.now() })
  return answer.body.id
}

async function record(id: string): Promise<TaskRecord> {
  return parseTaskFields(await redis.hgetall(taskKey(id)))!
}

describe('an ended task', () => {
  test.each(['failed', 'cancelled', 'expired'])('that is %s runs again as a new one', async state => {
    const id = await taskIn(state)
    const before = await call(`${gateway.url}/v1/tasks/${id}`)
    const answer = await retry(id)
    expect(answer.status).toBe(202)
    const { body } = answer
    expect(body.id).not.toBe(id)
    expect(answer.headers.get('location')).toBe(`/v1/tasks/${body.id}`)
    expect(body).toMatchObject({ type: 'a', state: 'queued', attempt: 1, result: null, retryOf: id })
    expect((await call(`${gateway.url}/v1/tasks/${body.id}`)).body).toEqual(body)
    expect((await call(`${gateway.url}/v1/tasks?limit=1`)).body.tasks).toEqual([body])
    expect(await redis.exists(`{mr}:tasks:task.${body.id}`)).toBe(1)
    expect((await call(`${gateway.url}/v1/tasks/${id}`)).body).toEqual(before.body)
  })

  test('runs again as it was asked for, but at once', async () => {
    const id = await taskIn('failed', {
      ...{ delayMs: 60_000, priority: 7, attempts: 4, backoff: { type: 'fixed', delayMs: 3, jitter: 0.5 } },
      ...{
        concurrencyKey: 'k',
        concurrencyLimit: 3,
        timeoutMs: 1_234,
        expiresInMs: 120_000,
        retainMs: 5_000,
        input: { n: 5, text: 'é' },
      },
    })
    const { body } = await retry(id)
    const [old, fresh] = await Promise.all([record(id), record(body.id)])
    const kept: (keyof TaskRecord)[] = [
      'type',
      'input',
      'priority',
      'attempts',
      'backoff',
      'timeoutMs',
      'retainMs',
      'concurrencyKey',
      'concurrencyLimit',
    ]
    for (const field of kept) expect([field, fresh[field]]).toEqual([field, old[field]])
    expect(fresh.expiresAt! - fresh.createdAt).toBe(120_000)
    expect(fresh.runAt).toBeNull()
    expect(body.state).toBe('queued')
  })

  test('that was itself a retry names the one before it', async () => {
    const first = await taskIn('failed')
    const { body: second } = await retry(first)
    await redis.hset(taskKey(second.id), { state: 'failed' })
    expect((await retry(second.id)).body.retryOf).toBe(second.id)
  })

  test('is run again once by requests with one idempotency key, also when it is gone by then', async () => {
    const id = await taskIn('failed')
    const key = { 'Idempotency-Key': randomUUID() }
    const first = await retry(id, key)
    await redis.del(taskKey(id))
    const listed = await redis.zcard(INDEX_KEY)
    const again = await retry(id, key)
    expect([again.status, again.body]).toEqual([202, first.body])
    expect(again.headers.get('idempotency-replayed')).toBe('true')
    expect(await redis.zcard(INDEX_KEY)).toBe(listed)
    expectProblem(await retry(await taskIn('failed'), key), 422, 'idempotency-key-reused')
  })

  test('whose input the type takes no more is refused with the path', async () => {
    const id = await taskIn('failed')
    await announce({ type: 'object', properties: { n: { type: 'string' } } })
    const other = await startGateway({ redisUrl: server.url })
    try {
      const answer = await call(`${other.url}/v1/tasks/${id}/retry`, { method: 'POST' })
      expectProblem(answer, 422, 'invalid-input', ['input.n'])
    } finally {
      await announce()
      await other.stop()
    }
  })
})

test.each(['scheduled', 'queued', 'running', 'completed'])(
  'a task that is %s is not run again',
  async state => {
    const id = await taskIn(state)
    const listed = await redis.zcard(INDEX_KEY)
    expectProblem(await retry(id), 409, 'not-retryable')
    expect(await redis.zcard(INDEX_KEY)).toBe(listed)
  },
)

test('a task that does not exist is not run again', async () => {
  expectProblem(await retry('no-such-task'), 404, 'task-not-found')
  expectProblem(await retry('123'), 404, 'task-not-found')
})

test('there is nothing to say in the body', async () => {
  const id = await taskIn('failed')
  expectProblem(await retry(id, {}, { input: {} }), 422, 'invalid-body', ['input'])
  expectProblem(await retry(id, {}, '{'), 400, 'invalid-json')
  expect((await retry(id, {}, {})).status).toBe(202)
})
