import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals'
import { Redis } from 'ioredis'
import { taskKey } from '../../../shared/keys.ts'
import { announceTaskTypes } from '../../../shared/task-types.ts'
import { call, expectProblem } from '../../support/http.ts'
import { startGateway, type TestGateway } from '../../support/processes.ts'
import { startRedis, type TestRedis } from '../../support/redis.ts'

let server: TestRedis
let redis: Redis
let gateway: TestGateway

beforeAll(async () => {
  server = await startRedis({ appendFsync: 'everysec' })
  redis = new Redis(server.url)
  gateway = await startGateway({ redisUrl: server.url })
})

afterAll(async () => {
  redis.disconnect()
  await server.close()
})

beforeEach(async () => {
  await redis.flushall()
  const schema = { inputSchema: null, attempts: 1, timeoutMs: 1_000 }
  await announceTaskTypes(redis, [
    { type: 'a', ...schema },
    { type: 'b', ...schema },
  ])
})

async function submit(body: {
  type: string
  id?: string
  delayMs?: number
  concurrencyKey?: string
}): Promise<string> {
  const answer = await call(`${gateway.url}/v1/tasks`, { body })
  expect(answer.status).toBe(202)
  return answer.body.id
}

/** Ids in the order of their submission. */
async function submitMany(count: number, type = 'a'): Promise<string[]> {
  const ids = []
  for (let i = 0; i < count; i++) ids.push(await submit({ type }))
  return ids
}

async function list(query: Record<string, string>) {
  const answer = await call(`${gateway.url}/v1/tasks?${new URLSearchParams(query)}`)
  expect(answer.status).toBe(200)
  const { tasks, next } = answer.body as {
    tasks: { id: string; state: string; type: string }[]
    next: string | null
  }
  return { tasks, ids: tasks.map(({ id }) => id), next }
}

test('is empty where there are no tasks', async () => {
  expect((await call(`${gateway.url}/v1/tasks`)).body).toEqual({ tasks: [], next: null })
})

test('shows tasks as they are read one by one, newest first', async () => {
  const ids = await submitMany(3)
  const { tasks } = await list({})
  expect(tasks.map(({ id }) => id)).toEqual(ids.reverse())
  expect(tasks[0]).toEqual((await call(`${gateway.url}/v1/tasks/${ids[0]}`)).body)
})

test('gives 20 tasks unless it is told a limit', async () => {
  await submitMany(21)
  const page = await list({})
  expect(page.ids).toHaveLength(20)
  expect((await list({ cursor: page.next! })).ids).toHaveLength(1)
  expect((await list({ limit: '100' })).ids).toHaveLength(21)
})

test('pages through all tasks once while others are added', async () => {
  const ids = await submitMany(10)
  const seen: string[] = []
  let next: string | null = null
  do {
    const page = await list({ limit: '3', ...(next && { cursor: next }) })
    seen.push(...page.ids)
    next = page.next
    await submit({ type: 'b' })
  } while (next)
  expect(seen).toEqual(ids.reverse())
})

test('has no next page when the last one is full', async () => {
  await submitMany(4)
  const page = await list({ limit: '2' })
  expect((await list({ limit: '2', cursor: page.next! })).next).toBeNull()
})

test('finds tasks by state and type', async () => {
  await submitMany(2, 'b')
  const waiting = await submit({ type: 'a', delayMs: 60_000 })
  const queued = await submit({ type: 'a' })
  expect((await list({ state: 'scheduled' })).ids).toEqual([waiting])
  expect((await list({ state: 'queued', type: 'a' })).ids).toEqual([queued])
  expect((await list({ type: 'a' })).ids).toEqual([queued, waiting])
  expect((await list({ type: 'none' })).ids).toEqual([])
  expect((await list({ state: 'completed' })).ids).toEqual([])
})

test('finds tasks by their concurrency key and by their schedule', async () => {
  const mine = await submit({ type: 'a', concurrencyKey: 'mine' })
  const other = await submit({ type: 'a', concurrencyKey: 'other' })
  const run = await submit({ type: 'b' })
  await redis.hset(taskKey(run), 'scheduleId', 'nightly')
  expect((await list({ concurrencyKey: 'mine' })).ids).toEqual([mine])
  expect((await list({ concurrencyKey: 'other', type: 'a' })).ids).toEqual([other])
  expect((await list({ concurrencyKey: 'mine', state: 'running' })).ids).toEqual([])
  expect((await list({ scheduleId: 'nightly' })).ids).toEqual([run])
  expect((await list({ scheduleId: 'nightly', type: 'a' })).ids).toEqual([])
})

test('comes to the end of a rare filter in bounded steps', async () => {
  const rare = await submit({ type: 'b' })
  const pipeline = redis.pipeline()
  // Entries without a record, as they are left when a task is no longer retained.
  for (let i = 0; i < 5_000; i++) pipeline.zadd('mr:index', 0, `9${String(i).padStart(12, '0')}:gone-${i}`)
  await pipeline.exec()
  const found: string[] = []
  let calls = 0
  let next: string | null = null
  do {
    const page = await list({ type: 'b', ...(next && { cursor: next }) })
    found.push(...page.ids)
    next = page.next
    calls++
  } while (next)
  expect(found).toEqual([rare])
  expect(calls).toBeGreaterThan(1)
})

test('pages through 100,000 tasks, each once, and finds a rare one, in steps of bounded work', async () => {
  const state = (i: number) => (i % 25_000 === 7 ? 'failed' : 'completed')
  for (let from = 0; from < 100_000; from += 5_000) {
    const pipeline = redis.pipeline()
    for (let i = from; i < from + 5_000; i++) {
      const [id, createdAt] = [`many-${i}`, 1_700_000_000_000 + Math.floor(i / 3)]
      pipeline.zadd('mr:index', 0, `${createdAt}:${id}`)
      const fixed = JSON.stringify({ id, createdAt })
      pipeline.hset(taskKey(id), { type: 'a', state: state(i), fixed })
    }
    await pipeline.exec()
  }
  const commands = async () => Number(/total_commands_processed:(\d+)/.exec(await redis.info('stats'))?.[1])
  const walk = async (query: Record<string, string>) => {
    const seen: string[] = []
    let next: string | null = null
    do {
      const before = await commands()
      const page = await list({ ...query, limit: '100', ...(next && { cursor: next }) })
      expect((await commands()) - before).toBeLessThan(6_000)
      seen.push(...page.ids)
      next = page.next
    } while (next)
    return seen
  }
  expect(await walk({ state: 'failed' })).toEqual(['many-75007', 'many-50007', 'many-25007', 'many-7'])
  const all = await walk({})
  expect(new Set(all).size).toBe(100_000)
  expect(all).toHaveLength(100_000)
}, 180_000)

test('gives shorter pages where results are large', async () => {
  const ids = await submitMany(30)
  const large = JSON.stringify('x'.repeat(1024 * 1024 - 2))
  for (const id of ids) await redis.hset(taskKey(id), 'result', large)
  const seen: string[] = []
  let next: string | null = null
  do {
    const page = await list({ limit: '100', ...(next && { cursor: next }) })
    expect(page.ids.length).toBeLessThan(20)
    seen.push(...page.ids)
    next = page.next
  } while (next)
  expect(seen).toEqual(ids.reverse())
})

describe('a query that is not valid is refused with its parameter', () => {
  test.each([
    ['state=unknown', 'state'],
    ['state=queued&state=running', 'state'],
    ['limit=0', 'limit'],
    ['limit=101', 'limit'],
    ['limit=-1', 'limit'],
    ['limit=1.5', 'limit'],
    ['limit=many', 'limit'],
    ['limit=', 'limit'],
    ['cursor=', 'cursor'],
    ['cursor=nonsense', 'cursor'],
    [`cursor=${Buffer.from('+').toString('base64url')}`, 'cursor'],
    [`cursor=${Buffer.from('1234567890123:a b').toString('base64url')}`, 'cursor'],
    ['cursor=%00', 'cursor'],
  ])('%s', async (query, path) => {
    expectProblem(await call(`${gateway.url}/v1/tasks?${query}`), 400, 'invalid-query', [path])
  })

  test('a parameter that comes twice', async () => {
    const reply = await call(`${gateway.url}/v1/tasks?limit=1&limit=2&type=a&type=b`)
    expectProblem(reply, 400, 'invalid-query', ['type', 'limit'])
    expect(reply.body.detail).toBe('type: is given more than once')
  })
})

test.each(['no-such-task', '12345', 'a:b', 'x'.repeat(65), '..%2f..', '%00', '%E0%A4%A'])(
  'the task %s is not found',
  async id => expectProblem(await call(`${gateway.url}/v1/tasks/${id}`), 404, 'task-not-found'),
)
