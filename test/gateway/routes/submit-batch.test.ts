import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { Redis } from 'ioredis'
import { taskIdOfJob } from '../../../shared/job-id.ts'
import { INDEX_KEY, logKey, OPEN_KEY, taskKey } from '../../../shared/keys.ts'
import { announceTaskTypes } from '../../../shared/task-types.ts'
import { type Answer, call, expectProblem } from '../../support/http.ts'
import { startGateway, type TestGateway } from '../../support/processes.ts'
import { startRedis, type TestRedis } from '../../support/redis.ts'
import { until } from '../../support/until.ts'

let server: TestRedis
let redis: Redis
let gateway: TestGateway

beforeAll(async () => {
  server = await startRedis({ appendFsync: 'everysec' })
  redis = new Redis(server.url)
  gateway = await startGateway({ redisUrl: server.url })
  const inputSchema = { type: 'object', properties: { n: { type: 'integer' } }, required: ['n'] }
  await announceTaskTypes(redis, [
    { type: 'a', inputSchema: null, attempts: 1, timeoutMs: 60_000 },
    { type: 'n', inputSchema, attempts: 3, timeoutMs: 60_000 },
  ])
})

afterAll(async () => {
  redis.disconnect()
  await server.close()
})

const submit = (tasks: unknown, headers: Record<string, string> = {}, { url } = gateway): Promise<Answer> =>
  call(`${url}/v1/tasks/batch`, { body: { tasks }, headers })

const waiting = async () => (await redis.lrange('{mr}:tasks:wait', 0, -1)).map(taskIdOfJob)

const numbered = (count: number, prefix: string) =>
  Array.from({ length: count }, (_, i) => ({ type: 'n', input: { n: i }, id: `${prefix}-${i}` }))

describe('a batch', () => {
  test('of 1,000 tasks is answered in order, and all of them are recorded, listed and queued', async () => {
    const before = new Set(await waiting())
    const tasks = Array.from({ length: 1_000 }, (_, n) => ({ type: 'n', input: { n } }))
    const answer = await submit(tasks)
    expect(answer.status).toBe(207)
    const { results } = answer.body
    expect(results).toHaveLength(1_000)
    expect(new Set(results.map(({ status }: { status: number }) => status))).toEqual(new Set([202]))
    const ids: string[] = results.map(({ task }: { task: { id: string } }) => task.id)
    const inputs = await Promise.all(ids.map(id => redis.hget(taskKey(id), 'input')))
    expect(inputs).toEqual(tasks.map(({ input }) => JSON.stringify(input)))
    expect((await call(`${gateway.url}/v1/tasks/${ids[500]}`)).body).toEqual(results[500].task)
    // BullMQ takes from the right.
    expect((await waiting()).filter(id => !before.has(id))).toEqual(ids.toReversed())
    for (const key of [OPEN_KEY, INDEX_KEY]) {
      const members = await redis.zrange(key, '0', '-1')
      expect(members.map(member => member.slice(14))).toEqual(expect.arrayContaining(ids))
    }
    const listed = await call(`${gateway.url}/v1/tasks?limit=100`)
    expect(listed.body.tasks.map(({ id }: { id: string }) => id)).toEqual(ids.toReversed().slice(0, 100))
    const { text } = await call(`${gateway.opsUrl}/metrics`)
    expect(text).toMatch(/millrace_tasks_submitted_total\{type="n"\} 1000/)
  })

  test('tells of each task what is wrong with it, with its path, and takes the others', async () => {
    const { status, body } = await submit([
      { type: 'a', id: 'mixed' },
      { type: 'n', input: { n: 'x' } },
      { type: 'a', delayMs: -1, more: 1 },
      { type: 'none' },
      { type: 'a', id: 'mixed' },
      7,
      { type: 'n', input: { n: 1 }, delayMs: 60_000, priority: 5 },
    ])
    expect(status).toBe(207)
    const told = body.results.map(
      (result: {
        status: number
        problem?: { code: string; status: number; errors?: { path: string }[] }
      }) =>
        result.problem
          ? [result.status, result.problem.code, result.problem.errors?.map(({ path }) => path)]
          : result.status,
    )
    expect(told).toEqual([
      202,
      [422, 'invalid-input', ['tasks.1.input.n']],
      [422, 'invalid-body', ['tasks.2.delayMs', 'tasks.2.more']],
      [422, 'unknown-task-type', ['tasks.3.type']],
      [409, 'task-exists', ['tasks.4.id']],
      [422, 'invalid-body', ['tasks.5']],
      202,
    ])
    expect(body.results[3].problem).toMatchObject({
      type: 'urn:millrace:problem:unknown-task-type',
      title: expect.any(String),
      detail: expect.stringContaining('known are a, n'),
      status: 422,
      requestId: expect.any(String),
    })
    expect(body.results[6].task).toMatchObject({ state: 'scheduled', attempts: 3 })
    const members = await redis.zrange(INDEX_KEY, '0', '-1')
    expect(members.filter(member => member.endsWith(':mixed'))).toHaveLength(1)
  })

  test.each([
    [{}, ['tasks']],
    [{ tasks: [] }, ['tasks']],
    [{ tasks: {} }, ['tasks']],
    [{ tasks: new Array(1_001).fill({ type: 'a' }) }, ['tasks']],
    [{ tasks: [{ type: 'a' }], more: 1 }, ['more']],
    [[{ type: 'a' }], ['']],
  ])('that is none is refused whole: %#', async (body, paths) => {
    const answer = await call(`${gateway.url}/v1/tasks/batch`, { body })
    expectProblem(answer, 422, 'invalid-body', paths)
  })

  test('of 1,000 wrong tasks gets an answer of bounded size', async () => {
    const { status, text } = await submit(new Array(1_000).fill({ type: 'x'.repeat(900) }))
    expect(status).toBe(207)
    expect(text.length).toBeLessThan(1_000_000)
  })

  test('that Redis has no memory for leaves nothing half-recorded', async () => {
    await redis.config('SET', 'maxmemory', '1mb')
    try {
      expectProblem(await submit(numbered(3, 'too-much')), 503, 'redis-unavailable')
    } finally {
      await redis.config('SET', 'maxmemory', '0')
    }
    expect(await redis.exists(taskKey('too-much-0'))).toBe(0)
    expect((await submit(numbered(3, 'too-much'))).body.results[0].status).toBe(202)
  })

  test('whose jobs Redis refuses is not half-recorded either', async () => {
    await redis.call('ACL', 'SETUSER', 'default', 'resetkeys', '~mr:*')
    try {
      expectProblem(await submit(numbered(3, 'no-job')), 503, 'redis-unavailable')
    } finally {
      await redis.call('ACL', 'SETUSER', 'default', 'allkeys')
    }
    const members = await redis.zrange(INDEX_KEY, '0', '-1')
    expect(members.filter(member => member.includes('no-job'))).toEqual([])
    expect(await redis.exists(taskKey('no-job-1'))).toBe(0)
  })

  test('of which Redis takes some says which', async () => {
    // Nothing can be appended to what is no stream.
    await redis.set(logKey('task:not-taken'), 'in the way')
    const { status, body } = await submit([
      { type: 'a', id: 'taken' },
      { type: 'a', id: 'not-taken' },
    ])
    expect(status).toBe(207)
    expect(body.results).toMatchObject([
      { status: 202, task: { id: 'taken' } },
      { status: 500, problem: { code: 'internal' } },
    ])
    expect((await call(`${gateway.url}/v1/tasks/taken`)).status).toBe(200)
  })
})

describe('a batch with an idempotency key', () => {
  test('that comes again gets the first answer again, and nothing is submitted twice', async () => {
    const key = { 'Idempotency-Key': randomUUID() }
    const tasks = [{ type: 'a' }, { type: 'none' }, { type: 'n', input: { n: 1 } }]
    const first = await submit(tasks, key)
    const open = await redis.zcard(OPEN_KEY)
    const again = await submit(tasks, key)
    expect([again.status, again.body]).toEqual([207, first.body])
    expect(again.headers.get('idempotency-replayed')).toBe('true')
    expect(await redis.zcard(OPEN_KEY)).toBe(open)
    expectProblem(await submit([{ type: 'a' }], key), 422, 'idempotency-key-reused')
    const single = await call(`${gateway.url}/v1/tasks`, { body: { type: 'a' }, headers: key })
    expectProblem(single, 422, 'idempotency-key-reused')
  })

  test('with a key takes one of two tasks with the same id, however often it comes', async () => {
    const [key, id] = [{ 'Idempotency-Key': randomUUID() }, randomUUID()]
    const tasks = [1, 2].map(n => ({ type: 'n', id, input: { n } }))
    for (let i = 0; i < 2; i++) {
      const { results } = (await submit(tasks, key)).body
      expect(results.map(({ status }: { status: number }) => status)).toEqual([202, 409])
      expect(results[1].problem).toMatchObject({ code: 'task-exists', errors: [{ path: 'tasks.1.id' }] })
    }
    expect(await redis.hget(taskKey(id), 'input')).toBe('{"n":1}')
  })

  test('is finished by its repetition when the gateway is killed in the middle', async () => {
    const victim = await startGateway({ redisUrl: server.url })
    const key = { 'Idempotency-Key': randomUUID() }
    const marker = randomUUID()
    const tasks = Array.from({ length: 1_000 }, (_, n) => ({ type: 'a', input: `${marker} ${n}` }))
    const before = await redis.zcard(INDEX_KEY)
    const first = submit(tasks, key, victim).catch(() => null)
    await until('some of them are in Redis', async () => (await redis.zcard(INDEX_KEY)) > before)
    await victim.kill()
    await first
    const { body } = await until('the key is free', async () => {
      const answer = await submit(tasks, key)
      return answer.status === 207 && answer
    })
    const ids: string[] = body.results.map(({ task }: { task: { id: string } }) => task.id)
    expect(new Set(ids).size).toBe(1_000)
    expect((await redis.zcard(INDEX_KEY)) - before).toBe(1_000)
    const inputs = await Promise.all(ids.map(id => redis.hget(taskKey(id), 'input')))
    expect(inputs).toEqual(tasks.map(({ input }) => JSON.stringify(input)))
    const jobs = await Promise.all(ids.map(id => redis.exists(`{mr}:tasks:task.${id}`)))
    expect(jobs.every(Boolean)).toBe(true)
    const queued = new Set(await waiting())
    expect(ids.filter(id => !queued.has(id))).toEqual([])
  })
})
