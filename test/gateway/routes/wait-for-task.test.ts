import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { Redis } from 'ioredis'
import { RedisEventLog } from '../../../shared/redis-event-log.ts'
import { TaskStore } from '../../../shared/redis-tasks.ts'
import { taskEvent } from '../../../shared/task.ts'
import { ended, type TaskOutcome } from '../../../shared/task-transitions.ts'
import { announceTaskTypes } from '../../../shared/task-types.ts'
import { type Answer, call, expectProblem } from '../../support/http.ts'
import { startGateway, type TestGateway } from '../../support/processes.ts'
import { startRedis, type TestRedis } from '../../support/redis.ts'
import { until } from '../../support/until.ts'

let server: TestRedis
let redis: Redis
let log: RedisEventLog
let tasks: TaskStore
let gateway: TestGateway

beforeAll(async () => {
  server = await startRedis({ appendFsync: 'everysec' })
  redis = new Redis(server.url)
  log = new RedisEventLog(redis, { channels: { maxEvents: 100, ttlMs: 60_000 }, taskMaxEvents: 100 })
  tasks = new TaskStore(redis, log)
  await announceTaskTypes(redis, [{ type: 'a', inputSchema: null, attempts: 1, timeoutMs: 60_000 }])
  gateway = await startGateway({ redisUrl: server.url })
})

afterAll(async () => {
  redis.disconnect()
  await server.close()
})

async function newTask({ url } = gateway): Promise<string> {
  const { body } = await call(`${url}/v1/tasks`, { body: { type: 'a' } })
  return body.id
}

/** As a worker ends it. */
const end = (id: string, outcome: TaskOutcome = { state: 'failed', error: failure }) =>
  tasks.apply(
    id,
    ended({ id, attempt: 1, callbackUrl: null, channels: [], retainMs: 60_000 }, outcome, {
      now: Date.now(),
    }),
  )

const failure = { code: 'no', message: 'it did not work', retryable: false }

const read = (id: string, prefer: string, { url } = gateway): Promise<Answer> =>
  call(`${url}/v1/tasks/${id}`, { headers: { Prefer: prefer } })

const applied = ({ headers }: Answer) => headers.get('preference-applied')

const waitsOf = async ({ opsUrl } = gateway) =>
  Number(/^millrace_channels_active (\d+)/m.exec((await call(`${opsUrl}/metrics`)).text)?.[1])

/** Asks and resolves once the gateway waits. */
async function wait(id: string, prefer = 'wait=60', at = gateway): Promise<{ answer: Promise<Answer> }> {
  const before = await waitsOf(at)
  const answer = read(id, prefer, at)
  await until('the gateway waits', async () => (await waitsOf(at)) > before)
  return { answer }
}

describe('a read that prefers to wait', () => {
  test('is answered when the task ends', async () => {
    const id = await newTask()
    const { answer } = await wait(id)
    await log.appendToTask(id, [taskEvent(id, 1, 'log', {})], { from: ['queued'], set: {} })
    await end(id)
    const told = await answer
    expect(told).toMatchObject({ status: 200, body: { id, state: 'failed', error: failure } })
    expect(applied(told)).toBe('wait=60')
    expect(await waitsOf()).toBe(0)
  })

  test('is answered at once when the task has ended before', async () => {
    const id = await newTask()
    await end(id, { state: 'cancelled' })
    const told = await read(id, 'wait=5')
    expect([told.body.state, applied(told)]).toEqual(['cancelled', 'wait=5'])
  })

  test('is answered with the task as it is when its time is over', async () => {
    const id = await newTask()
    const told = await read(id, 'wait=1')
    expect([told.status, told.body.state, applied(told)]).toEqual([200, 'queued', null])
    expect(await waitsOf()).toBe(0)
  })

  test('of a task that does not exist is refused at once', async () => {
    expectProblem(await read('no-such-task', 'wait=60'), 404, 'task-not-found')
  })

  test.each([
    ['wait=100', 'wait=60'],
    ['wait=0', 'wait=0'],
    ['respond-async, WAIT = "7" ; x=1, wait=9', 'wait=7'],
    ['wait', null],
    ['wait=99999999999', 'wait=60'],
    ['wait=', null],
    ['wait=-1', null],
    ['wait=1.5', null],
    ['wait=1e3', null],
    ['waiting=5', null],
    ['', null],
  ])('understands "%s" as %s', async (prefer, understood) => {
    const id = await newTask()
    await end(id)
    const told = await read(id, prefer)
    expect([told.status, applied(told)]).toEqual([200, understood])
  })

  test('does not wait for what is no time', async () => {
    const id = await newTask()
    const answers = await Promise.all(['wait=0', 'wait=x', 'wait=-5'].map(prefer => read(id, prefer)))
    expect(answers.map(({ status, body }) => [status, body.state])).toEqual(
      new Array(3).fill([200, 'queued']),
    )
  })

  test('costs the gateway nothing more when its client leaves', async () => {
    const id = await newTask()
    const leaving = new AbortController()
    const answer = fetch(`${gateway.url}/v1/tasks/${id}`, {
      headers: { Prefer: 'wait=60' },
      signal: leaving.signal,
    }).catch(() => 'left')
    await until('the gateway waits', async () => (await waitsOf()) === 1)
    leaving.abort()
    expect(await answer).toBe('left')
    await until('the gateway waits no more', async () => (await waitsOf()) === 0)
  })

  test('is answered when pub/sub was cut off while the task ended', async () => {
    const id = await newTask()
    const { answer } = await wait(id)
    const killed = redis.client('KILL', 'TYPE', 'PUBSUB')
    await end(id)
    expect(Number(await killed)).toBeGreaterThan(0)
    expect((await answer).body.state).toBe('failed')
  })

  test('is refused when the task goes while it waits', async () => {
    const id = await newTask()
    const { answer } = await wait(id, 'wait=2')
    await redis.del(`mr:{task:${id}}:state`)
    expectProblem(await answer, 404, 'task-not-found')
  })

  test('is one of many that are answered alike', async () => {
    const ids = await Promise.all(Array.from({ length: 20 }, () => newTask()))
    const answers = ids.flatMap(id => Array.from({ length: 10 }, () => read(id, 'wait=60')))
    await until('the gateway waits for all tasks', async () => (await waitsOf()) === ids.length)
    await Promise.all(ids.map(id => end(id)))
    const states = (await Promise.all(answers)).map(({ body }) => body.state)
    expect(states).toEqual(new Array(200).fill('failed'))
  })
})

test('a gateway that shuts down answers those who wait', async () => {
  const leaving = await startGateway({ redisUrl: server.url })
  const { answer } = await wait(await newTask(), 'wait=60', leaving)
  const stopped = leaving.stop()
  const told = await answer
  expect([told.status, told.body.state, applied(told)]).toEqual([200, 'queued', null])
  expect(await stopped).toBe(0)
})

test('waits and streams together are as many as the gateway may have', async () => {
  const small = await startGateway({ redisUrl: server.url, env: { MILLRACE_MAX_CONNECTIONS: '1' } })
  const id = await newTask()
  const { answer } = await wait(id, 'wait=60', small)
  const refused = await read(id, 'wait=60', small)
  expectProblem(refused, 503, 'gateway-full')
  expect(refused.headers.get('retry-after')).toBe('1')
  expectProblem(await call(`${small.url}/v1/channels/${randomUUID()}/events`), 503, 'gateway-full')
  expect((await call(`${small.url}/v1/tasks/${id}`)).status).toBe(200)
  await end(id)
  expect((await answer).status).toBe(200)
})
