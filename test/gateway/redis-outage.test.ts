import { afterEach, beforeEach, describe, expect, test } from '@jest/globals'
import { Redis } from 'ioredis'
import { announceTaskTypes } from '../../shared/task-types.ts'
import { type Answer, call, expectProblem } from '../support/http.ts'
import { startGateway, type TestGateway } from '../support/processes.ts'
import { startRedis, type TestRedis } from '../support/redis.ts'
import { until } from '../support/until.ts'

let redis: TestRedis
let gateway: TestGateway | undefined
let frozen = false

beforeEach(async () => {
  redis = await startRedis()
})

afterEach(async () => {
  resume()
  // A gateway that has met an outage still ends cleanly.
  expect(await gateway?.stop()).toBe(0)
  expect(gateway?.output()).not.toMatch(/uncaught|unhandled/i)
  gateway = undefined
  await redis.close()
})

const freeze = () => {
  frozen = process.kill(redis.pid, 'SIGSTOP')
}
const resume = () => {
  if (frozen) process.kill(redis.pid, 'SIGCONT')
  frozen = false
}

async function start(env: Record<string, string> = {}): Promise<TestGateway> {
  gateway = await startGateway({ redisUrl: redis.url, env })
  return gateway
}

async function withClient<T>(use: (client: Redis) => Promise<T>): Promise<T> {
  const client = new Redis(redis.url)
  try {
    return await use(client)
  } finally {
    client.disconnect()
  }
}

const announce = () =>
  withClient(client =>
    announceTaskTypes(client, [{ type: 'a', inputSchema: null, attempts: 1, timeoutMs: 1_000 }]),
  )

const submit = ({ url }: TestGateway, id?: string) =>
  call(`${url}/v1/tasks`, { body: { type: 'a', ...(id && { id }) } })

const isReady = async ({ url }: TestGateway) => (await call(`${url}/health/ready`)).status === 200

/** One request to every entrance that needs Redis, all at once. */
function everyEntrance({ url }: TestGateway): Promise<Answer[]> {
  const json = { headers: { Accept: 'application/json' } }
  return Promise.all([
    call(`${url}/v1/tasks`, { body: { type: 'a' } }),
    call(`${url}/v1/tasks`, { body: { type: 'a' }, headers: { 'Idempotency-Key': 'k' } }),
    call(`${url}/v1/tasks/batch`, { body: { tasks: [{ type: 'a' }, { type: 'a' }] } }),
    call(`${url}/v1/tasks`),
    call(`${url}/v1/tasks/some-id`),
    call(`${url}/v1/tasks/some-id/cancel`, { method: 'POST' }),
    call(`${url}/v1/tasks/some-id/retry`, { method: 'POST' }),
    call(`${url}/v1/channels/news/events`, { body: { data: 1 } }),
    call(`${url}/v1/channels/news/events`, json),
    call(`${url}/v1/tasks/some-id/events`, json),
    call(`${url}/v1/task-types`),
  ])
}

/** Resolves with what came within a bound that is far below any default of the libraries. */
async function promptly<T>(answers: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error('a request was left hanging')), 5_000)
  })
  return Promise.race([answers, late]).finally(() => clearTimeout(timer))
}

async function expectUnavailable(running: TestGateway): Promise<void> {
  for (const answer of await promptly(everyEntrance(running))) {
    expectProblem(answer, 503, 'redis-unavailable')
    expect(answer.headers.get('retry-after')).toBe('1')
  }
  expect((await call(`${running.url}/health/live`)).status).toBe(200)
  const ready = await promptly(call(`${running.url}/health/ready`))
  expect(ready).toMatchObject({
    status: 503,
    body: { status: 'unavailable', problems: [expect.any(String)] },
  })
}

async function expectAtWork(running: TestGateway): Promise<void> {
  await until('the gateway is ready again', () => isReady(running))
  await announce()
  expect((await submit(running)).status).toBe(202)
  expect((await call(`${running.url}/v1/channels/news/events`, { body: { data: 1 } })).status).toBe(201)
  const metrics = await call(`${running.opsUrl}/metrics`)
  expect(metrics.text).toContain('millrace_redis_connected 1')
}

test('a killed Redis is answered for at once, and work goes on when it is back', async () => {
  const running = await start()
  await expectAtWork(running)
  await redis.kill()
  await expectUnavailable(running)
  await expectUnavailable(running)
  expect((await call(`${running.opsUrl}/metrics`)).text).toContain('millrace_redis_connected 0')
  await redis.restart()
  await expectAtWork(running)
})

test('a hung Redis is not waited for, and work goes on when it moves again', async () => {
  const running = await start()
  await expectAtWork(running)
  freeze()
  await expectUnavailable(running)
  await expectUnavailable(running)
  resume()
  await expectAtWork(running)
})

test('a gateway starts without Redis and takes up work when it comes', async () => {
  await redis.stop()
  const running = await start()
  await expectUnavailable(running)
  await redis.restart()
  await expectAtWork(running)
})

test('a gateway starts with a hung Redis and takes up work when it moves', async () => {
  freeze()
  const running = await start()
  await expectUnavailable(running)
  resume()
  await expectAtWork(running)
})

test.each([
  ['away', () => redis.kill()],
  ['hung', freeze],
])('a gateway ends cleanly while Redis is %s', async (_, fail) => {
  const running = await start()
  await announce()
  await fail()
  await submit(running)
  expect(await running.stop()).toBe(0)
})

test('requests under way when Redis dies are answered, and what was accepted is there after it', async () => {
  const running = await start()
  await announce()
  const submissions = Array.from({ length: 300 }, (_, i) => submit(running, `task-${i}`))
  await Promise.race(submissions)
  await redis.kill()
  const answers = await promptly(Promise.all(submissions))
  for (const answer of answers) if (answer.status !== 202) expectProblem(answer, 503, 'redis-unavailable')
  await redis.restart()
  await until('the gateway is ready again', () => isReady(running))
  const accepted = answers.filter(({ status }) => status === 202)
  expect(accepted.length).toBeGreaterThan(0)
  for (const { body } of accepted)
    expect((await call(`${running.url}/v1/tasks/${body.id}`)).body).toEqual(body)
})

test.each([
  ['dies', () => redis.kill(), () => redis.restart()],
  ['hangs', freeze, async () => resume()],
])('requests that wait for the end of a task are answered when Redis %s', async (_, fail, mend) => {
  const running = await start()
  await announce()
  const { body } = await submit(running)
  const waiting = call(`${running.url}/v1/tasks/${body.id}`, { headers: { Prefer: 'wait=60' } })
  const isWaiting = async () =>
    (await call(`${running.opsUrl}/metrics`)).text.includes('millrace_channels_active 1')
  await until('the gateway waits', isWaiting)
  await fail()
  expectProblem(await promptly(waiting), 503, 'redis-unavailable')
  await mend()
  await expectAtWork(running)
})

describe('a Redis that answers but can not serve is answered for as away', () => {
  test('while a script keeps it busy', async () => {
    const running = await start()
    await announce()
    await withClient(async client => {
      await client.config('SET', 'busy-reply-threshold', '1')
      const busy = withClient(other => other.eval('while true do end', 0)).catch(() => 'killed')
      const says = () => client.ping().catch((error: Error) => error.message)
      await until('Redis is busy', async () => (await says()).startsWith('BUSY'))
      expectProblem(await submit(running), 503, 'redis-unavailable')
      await client.call('SCRIPT', 'KILL')
      expect(await busy).toBe('killed')
    })
    await expectAtWork(running)
  })

  test('while it is a read-only replica', async () => {
    const running = await start()
    await announce()
    await withClient(client => client.replicaof('127.0.0.1', 1))
    const answer = await call(`${running.url}/v1/channels/news/events`, { body: { data: 1 } })
    expectProblem(answer, 503, 'redis-unavailable')
    await withClient(client => client.replicaof('NO', 'ONE'))
    await expectAtWork(running)
  })
})

test('what users send does not come into the log with the error of a failed command', async () => {
  const running = await start({ LOG_LEVEL: 'trace' })
  await withClient(client => client.replicaof('127.0.0.1', 1))
  await call(`${running.url}/v1/channels/news/events`, { body: { data: 'a secret' } })
  await until('the failure is logged', () => running.output().includes('READONLY'))
  expect(running.output()).not.toContain('a secret')
})
