import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals'
import { Redis } from 'ioredis'
import { INDEX_KEY, OPEN_KEY, taskKey } from '../../../shared/keys.ts'
import type { TaskRecord } from '../../../shared/task.ts'
import { parseTaskFields } from '../../../shared/task-record.ts'
import { announceTaskTypes } from '../../../shared/task-types.ts'
import { call, expectProblem } from '../../support/http.ts'
import { startGateway, type TestGateway } from '../../support/processes.ts'
import { startRedis, type TestRedis } from '../../support/redis.ts'

const DAY_MS = 86_400_000

let server: TestRedis
let redis: Redis
let gateway: TestGateway

const submit = (body: unknown) => call(`${gateway.url}/v1/tasks`, { body })
const read = (id: string) => call(`${gateway.url}/v1/tasks/${id}`)
const record = async (id: string): Promise<TaskRecord> => parseTaskFields(await redis.hgetall(taskKey(id)))!
const jobOf = (id: string) => redis.exists(`{mr}:tasks:task.${id}`)

const resize = {
  type: 'resize',
  inputSchema: {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    type: 'object',
    properties: {
      width: { type: 'integer', minimum: 1 },
      urls: { type: 'array', items: { type: 'string', format: 'uri' } },
      'a/b~c': { type: 'string' },
      headers: { type: 'object', propertyNames: { pattern: '^x-' } },
    },
    required: ['width'],
    additionalProperties: false,
  },
  attempts: 3,
  timeoutMs: 60_000,
  backoff: { type: 'exponential', delayMs: 500, jitter: 0.5 },
} as const

beforeAll(async () => {
  server = await startRedis()
  redis = new Redis(server.url)
  gateway = await startGateway({ redisUrl: server.url })
  await announceTaskTypes(redis, [
    resize,
    { type: 'anything', inputSchema: null, attempts: 1, timeoutMs: 3_600_000 },
    { type: 'limited', inputSchema: null, attempts: 1, timeoutMs: 3_600_000, concurrency: 2 },
    { type: 'broken', inputSchema: { type: 'no such type' }, attempts: 1, timeoutMs: 1_000 },
    { type: 'elsewhere', inputSchema: { $ref: 'http://127.0.0.1:1/schema' }, attempts: 1, timeoutMs: 1_000 },
  ])
})

afterAll(async () => {
  redis.disconnect()
  await server.close()
})

describe('an accepted task', () => {
  test('is in Redis with its first event and its job, and is answered as it can be read', async () => {
    const answer = await submit({ type: 'anything' })
    expect(answer.status).toBe(202)
    const { id, createdAt, lastEventId } = answer.body
    expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-/)
    expect(answer.headers.get('location')).toBe(`/v1/tasks/${id}`)
    expect(answer.body).toEqual({
      id,
      type: 'anything',
      state: 'queued',
      attempt: 1,
      attempts: 1,
      progress: null,
      result: null,
      error: null,
      createdAt: new Date(createdAt).toISOString(),
      startedAt: null,
      finishedAt: null,
      lastEventId,
      links: {
        self: `/v1/tasks/${id}`,
        events: `/v1/tasks/${id}/events`,
        cancel: `/v1/tasks/${id}/cancel`,
      },
    })
    expect((await read(id)).body).toEqual(answer.body)
    expect(await jobOf(id)).toBe(1)
    const history = await call(`${gateway.url}/v1/tasks/${id}/events`, {
      headers: { Accept: 'application/json' },
    })
    expect(history.body.events).toMatchObject([{ id: lastEventId, type: 'queued', data: { taskId: id } }])
  })

  test('takes from its type what it does not say itself', async () => {
    const { body } = await submit({ type: 'resize', input: { width: 1 } })
    expect(await record(body.id)).toMatchObject({
      attempts: 3,
      timeoutMs: 60_000,
      backoff: resize.backoff,
      retainMs: DAY_MS,
      priority: 0,
      input: { width: 1 },
    })
  })

  test('is as it says itself', async () => {
    const own = {
      type: 'resize',
      input: { width: 2 },
      id: 'my_Own-1',
      delayMs: 30 * DAY_MS,
      priority: 1_000,
      attempts: 25,
      backoff: { type: 'fixed', delayMs: 7 },
      timeoutMs: 1,
      expiresInMs: 60 * DAY_MS,
      retainMs: 1_000,
    }
    const { status, body } = await submit(own)
    expect({ status, body }).toMatchObject({
      status: 202,
      body: { id: own.id, state: 'scheduled', attempts: 25 },
    })
    const { runAt, expiresAt, createdAt, ...recorded } = await record(own.id)
    expect(recorded).toMatchObject({
      timeoutMs: 1,
      backoff: { type: 'fixed', delayMs: 7 },
      retainMs: 1_000,
      priority: 1_000,
    })
    expect(runAt! - createdAt).toBe(own.delayMs)
    expect(expiresAt! - createdAt).toBe(own.expiresInMs)
  })

  test('keeps its input to the letter', async () => {
    const input = '{"__proto__":{"admin":true},"text":"\\u2028 é 𝄞 \\u0000","list":[null,0.1,-1e-7]}'
    const answer = await submit(`{"type":"anything","input":${input}}`)
    expect(answer.status).toBe(202)
    const recorded = (await redis.hget(taskKey(answer.body.id), 'input'))!
    expect(recorded).toBe(JSON.stringify(JSON.parse(input)))
  })

  test('with a concurrency key shows it, and has the limit of the configuration unless it names one', async () => {
    const concurrencyKey = 'tenant:42'
    const answer = await submit({ type: 'anything', concurrencyKey })
    expect(answer).toMatchObject({ status: 202, body: { concurrencyKey } })
    expect((await read(answer.body.id)).body).toEqual(answer.body)
    expect((await record(answer.body.id)).concurrencyLimit).toBe(5)
    const own = await submit({ type: 'anything', concurrencyKey, concurrencyLimit: 1_000 })
    expect((await record(own.body.id)).concurrencyLimit).toBe(1_000)
  })

  test('is counted by its type', async () => {
    await submit({ type: 'resize', input: { width: 1 } })
    const { text } = await call(`${gateway.opsUrl}/metrics`)
    expect(text).toMatch(/millrace_tasks_submitted_total\{type="resize"\} [1-9]/)
  })
})

test('a task of a type with a limit has the key of its type, unless it has one of its own', async () => {
  const key = async (more: object) => {
    const { body } = await submit({ type: 'limited', ...more })
    const { concurrencyKey, concurrencyLimit } = await record(body.id)
    return [concurrencyKey, concurrencyLimit]
  }
  expect(await key({})).toEqual(['type:limited', 2])
  expect(await key({ concurrencyKey: 'acme', concurrencyLimit: 7 })).toEqual(['acme', 7])
})

describe('a body out of bounds is refused with the path', () => {
  test.each([
    [{}, ['type']],
    [{ type: '' }, ['type']],
    [{ type: 7 }, ['type']],
    [{ type: 'anything', id: '' }, ['id']],
    [{ type: 'anything', id: '12345' }, ['id']],
    [{ type: 'anything', id: 'a:b' }, ['id']],
    [{ type: 'anything', id: 'x'.repeat(65) }, ['id']],
    [{ type: 'anything', delayMs: -1 }, ['delayMs']],
    [{ type: 'anything', delayMs: 30 * DAY_MS + 1 }, ['delayMs']],
    [{ type: 'anything', delayMs: 0.5 }, ['delayMs']],
    [{ type: 'anything', delayMs: '5' }, ['delayMs']],
    [{ type: 'anything', delayMs: null }, ['delayMs']],
    [{ type: 'anything', priority: 1_001 }, ['priority']],
    [{ type: 'anything', priority: -1 }, ['priority']],
    [{ type: 'anything', attempts: 0 }, ['attempts']],
    [{ type: 'anything', attempts: 26 }, ['attempts']],
    [{ type: 'anything', backoff: { type: 'linear', delayMs: 1 } }, ['backoff.type']],
    [{ type: 'anything', backoff: { type: 'fixed' } }, ['backoff.delayMs']],
    [{ type: 'anything', channels: ['user:1', 'task:1'] }, ['channels.1']],
    [{ type: 'anything', channels: ['a b', ''] }, ['channels.0', 'channels.1']],
    [{ type: 'anything', channels: ['a', 'b', 'c', 'd', 'e', 'f'] }, ['channels']],
    [{ type: 'anything', channels: 7 }, ['channels']],
    [{ type: 'anything', backoff: { type: 'fixed', delayMs: 1, jitter: 2 } }, ['backoff.jitter']],
    [{ type: 'anything', backoff: { type: 'fixed', delayMs: 1, more: 2 } }, ['backoff.more']],
    [{ type: 'anything', timeoutMs: 0 }, ['timeoutMs']],
    [{ type: 'anything', expiresInMs: 0 }, ['expiresInMs']],
    [{ type: 'anything', retainMs: 0 }, ['retainMs']],
    [{ type: 'anything', concurrencyKey: '' }, ['concurrencyKey']],
    [{ type: 'anything', concurrencyKey: '-a' }, ['concurrencyKey']],
    [{ type: 'anything', concurrencyKey: 'a b' }, ['concurrencyKey']],
    [{ type: 'anything', concurrencyKey: 'x'.repeat(129) }, ['concurrencyKey']],
    [{ type: 'anything', concurrencyKey: 'a', concurrencyLimit: 0 }, ['concurrencyLimit']],
    [{ type: 'anything', concurrencyKey: 'a', concurrencyLimit: 1_001 }, ['concurrencyLimit']],
    [{ type: 'anything', concurrencyLimit: 1 }, ['concurrencyLimit']],
    [{ type: 'anything', unknown: 1 }, ['unknown']],
    [{ type: 'anything', callbackUrl: 'http://127.0.0.1' }, ['callbackUrl']],
    [{ delayMs: -1, attempts: 0, more: 1 }, ['type', 'delayMs', 'attempts', 'more']],
  ])('%j', async (body, paths) => {
    expectProblem(await submit(body), 422, 'invalid-body', paths)
  })

  test('that names __proto__', async () => {
    const answer = await submit('{"type":"anything","__proto__":{"delayMs":5}}')
    expectProblem(answer, 422, 'invalid-body', ['__proto__'])
  })

  test('that is a list', async () => expectProblem(await submit([]), 422, 'invalid-body', ['']))

  test('with thousands of unknown fields gets an answer of bounded size', async () => {
    const fields = Array.from({ length: 4_000 }, (_, i) => [`${'x'.repeat(100)}${i}`, i])
    const answer = await submit({ type: 'anything', ...Object.fromEntries(fields), ['y'.repeat(500_000)]: 1 })
    expectProblem(answer, 422, 'invalid-body')
    expect(answer.text.length).toBeLessThan(20_000)
  })
})

describe('a type', () => {
  test('that no worker has announced is refused, and the known ones are named', async () => {
    const answer = await submit({ type: 'resise' })
    expectProblem(answer, 422, 'unknown-task-type', ['type'])
    expect(answer.body.detail).toMatch(/anything, broken, elsewhere, limited, resize/)
  })

  test.each(['__proto__', 'constructor', 'x'.repeat(100_000)])('is not found by a trick: %#', async type => {
    const answer = await submit({ type })
    expectProblem(answer, 422, 'unknown-task-type')
    expect(answer.text.length).toBeLessThan(2_000)
  })

  test('that was announced a moment ago is known', async () => {
    await announceTaskTypes(redis, [{ type: 'late', inputSchema: null, attempts: 1, timeoutMs: 1_000 }])
    expect((await submit({ type: 'late' })).status).toBe(202)
    await redis.hdel('mr:types', 'late')
  })

  test('is listed with its schema', async () => {
    const { body } = await call(`${gateway.url}/v1/task-types`)
    expect(body.types.find(({ type }: { type: string }) => type === 'resize')).toEqual(resize)
  })
})

describe('input that does not suit the schema', () => {
  test.each([
    [undefined, ['input.width']],
    [null, ['input']],
    [{ width: 0 }, ['input.width']],
    [{ width: 'ten' }, ['input.width']],
    [{ width: 1, height: 2 }, ['input.height']],
    [{ width: 1, urls: ['http://a', 'no url'] }, ['input.urls.1']],
    [{ width: 1, 'a/b~c': 1 }, ['input.a/b~c']],
    [{ width: 1, headers: { 'x-a': '', Host: '' } }, ['input.headers.Host']],
    [{ width: 1.5, urls: 7, more: 1 }, ['input.more', 'input.width', 'input.urls']],
  ])('%j is refused with its paths', async (input, paths) => {
    const answer = await submit({ type: 'resize', input })
    expectProblem(answer, 422, 'invalid-input')
    const found = answer.body.errors.map(({ path }: { path: string }) => path)
    expect(found.sort()).toEqual([...paths].sort())
  })

  test('in half a million places gets an answer of bounded size', async () => {
    const answer = await submit({ type: 'resize', input: { width: 1, urls: new Array(400_000).fill(1) } })
    expectProblem(answer, 422, 'invalid-input', ['input.urls.0'])
  })

  test.each(['broken', 'elsewhere'])('is let through to the worker where the schema is %s', async type => {
    expect((await submit({ type, input: { any: 1 } })).status).toBe(202)
  })
})

test('an id that is taken is refused and leaves the first task as it is', async () => {
  const first = await submit({ type: 'anything', id: 'taken', input: { first: true } })
  expectProblem(await submit({ type: 'anything', id: 'taken', input: {} }), 409, 'task-exists', ['id'])
  expect((await read('taken')).body).toEqual(first.body)
  expect(await redis.hget(taskKey('taken'), 'input')).toBe('{"first":true}')
  const members = await redis.zrange(INDEX_KEY, '0', '-1')
  expect(members.filter(member => member.endsWith(':taken'))).toHaveLength(1)
})

test('of many submissions with one id exactly one is accepted', async () => {
  const answers = await Promise.all(
    Array.from({ length: 20 }, () => submit({ type: 'anything', id: 'race' })),
  )
  expect(answers.map(({ status }) => status).sort()).toEqual([202, ...new Array(19).fill(409)])
  const members = await redis.zrange(OPEN_KEY, '0', '-1')
  expect(members.filter(member => member.endsWith(':race'))).toHaveLength(1)
})

describe('a task that can not be queued is not half-recorded', () => {
  beforeEach(async () => {
    // So that the gateway knows the types without asking.
    await submit({ type: 'anything' })
  })

  const isRecorded = async (id: string) => {
    const members = [
      ...(await redis.zrange(INDEX_KEY, '0', '-1')),
      ...(await redis.zrange(OPEN_KEY, '0', '-1')),
    ]
    return {
      record: await redis.exists(taskKey(id)),
      log: await redis.exists(`mr:{task:${id}}:log`),
      listed: members.filter(member => member.endsWith(`:${id}`)).length,
      job: await jobOf(id),
    }
  }
  const nothing = { record: 0, log: 0, listed: 0, job: 0 }

  test('when Redis is out of memory', async () => {
    await redis.config('SET', 'maxmemory', '1mb')
    try {
      const answer = await submit({ type: 'anything', id: 'too-much' })
      expectProblem(answer, 503, 'redis-unavailable')
      expect(answer.headers.get('retry-after')).toBe('1')
    } finally {
      await redis.config('SET', 'maxmemory', '0')
    }
    expect(await isRecorded('too-much')).toEqual(nothing)
    expectProblem(await read('too-much'), 404, 'task-not-found')
    expect((await submit({ type: 'anything', id: 'too-much' })).status).toBe(202)
  })

  test('when Redis takes the record and refuses the job', async () => {
    await redis.call('ACL', 'SETUSER', 'default', 'resetkeys', '~mr:*')
    try {
      expectProblem(await submit({ type: 'anything', id: 'no-job' }), 503, 'redis-unavailable')
    } finally {
      await redis.call('ACL', 'SETUSER', 'default', 'allkeys')
    }
    expect(await isRecorded('no-job')).toEqual(nothing)
    expect((await submit({ type: 'anything', id: 'no-job' })).status).toBe(202)
    expect(await isRecorded('no-job')).toEqual({ record: 1, log: 1, listed: 2, job: 1 })
  })
})
