/** Requests over MILLRACE_RATE_LIMIT, on two gateways that share a Redis. */
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { Redis } from 'ioredis'
import { type Answer, call, expectProblem } from '../../support/http.ts'
import { startGateway, type TestGateway } from '../../support/processes.ts'
import { startRedis, type TestRedis } from '../../support/redis.ts'
import { until } from '../../support/until.ts'
import { openViewer } from '../../support/viewer.ts'

const LIMIT = 3
const HELD_S = 1_000
const ENV = { MILLRACE_RATE_LIMIT: String(LIMIT), MILLRACE_TRUSTED_PROXIES: '127.0.0.0/8' }

let server: TestRedis
let redis: Redis
let gateways: TestGateway[]

beforeAll(async () => {
  server = await startRedis()
  redis = new Redis(server.url)
  // It is stopped once.
  redis.on('error', () => undefined)
  gateways = await Promise.all([1, 2].map(() => startGateway({ redisUrl: server.url, env: ENV })))
})

afterAll(async () => {
  redis.disconnect()
  await server.close()
})

const keyOf = (address: string) => `mr:rate:a:${address}`
const from = (address: string) => ({ headers: { 'X-Forwarded-For': address } })

/** A second that does not end while a test counts in it. */
async function hold(address: string): Promise<void> {
  await redis.set(keyOf(address), 0, 'EX', HELD_S)
}

const ask = (address: string, path = '/v1/task-types', gateway = 0): Promise<Answer> =>
  call(gateways[gateway]!.url + path, from(address))

async function useUp(address: string, gateway = 0): Promise<void> {
  await hold(address)
  for (let i = 0; i < LIMIT; i++) expect((await ask(address, '/v1/task-types', gateway)).status).toBe(200)
}

test('as many as the limit says pass in a second, whichever gateway they go to', async () => {
  await hold('192.0.2.1')
  const answers = await Promise.all(
    Array.from({ length: 4 * LIMIT }, (_, i) => ask('192.0.2.1', '/v1/task-types', i % 2)),
  )
  const refused = answers.filter(({ status }) => status !== 200)
  expect(refused).toHaveLength(3 * LIMIT)
  for (const answer of refused) {
    expectProblem(answer, 429, 'rate-limited')
    expect(answer.headers.get('retry-after')).toBe('1')
  }
})

test('one address does not use up what another has', async () => {
  await useUp('192.0.2.2')
  expect((await ask('192.0.2.2')).status).toBe(429)
  expect((await ask('192.0.2.3')).status).toBe(200)
})

test('all of a /64 are one client', async () => {
  await hold('2001:db8:0:0::/64')
  for (let i = 0; i < LIMIT; i++) expect((await ask(`2001:db8::${i + 1}`)).status).toBe(200)
  expect((await ask('2001:db8::ffff')).status).toBe(429)
})

test('what the client itself writes into X-Forwarded-For does not help', async () => {
  await useUp('192.0.2.4')
  expect((await ask('198.51.100.1, 192.0.2.4')).status).toBe(429)
})

test('answers say what is left, streams and refusals too', async () => {
  await hold('192.0.2.5')
  const viewer = await openViewer(`${gateways[0]!.url}/v1/channels/a/events`, from('192.0.2.5'))
  expect(viewer.response.headers).toMatchObject({
    'ratelimit-policy': `"requests";q=${LIMIT};w=1`,
    ratelimit: `"requests";r=${LIMIT - 1};t=${HELD_S}`,
  })
  viewer.cut()
  const standings = []
  for (let i = 0; i < LIMIT; i++) standings.push((await ask('192.0.2.5')).headers.get('ratelimit'))
  expect(standings.map(text => /r=(\d+)/.exec(text ?? '')?.[1])).toEqual(['1', '0', '0'])
})

test('a second after that they pass again', async () => {
  await until('the limit is met', async () => {
    const answers = await Promise.all(Array.from({ length: 2 * LIMIT }, () => ask('192.0.2.6')))
    return answers.some(({ status }) => status === 429)
  })
  await until('the next second', async () => (await ask('192.0.2.6')).status === 200)
})

test('health and pages are not counted', async () => {
  await useUp('192.0.2.7')
  for (const path of ['/health/live', '/health/ready', '/', '/style.css'])
    expect({ path, status: (await ask('192.0.2.7', path)).status }).toEqual({ path, status: 200 })
})

test('a batch is one request', async () => {
  await hold('192.0.2.8')
  const body = { tasks: Array.from({ length: 10 * LIMIT }, () => ({ type: 'countdown' })) }
  await call(`${gateways[0]!.url}/v1/tasks/batch`, { ...from('192.0.2.8'), body })
  expect(await redis.get(keyOf('192.0.2.8'))).toBe('1')
})

test('a flood costs Redis nothing', async () => {
  await useUp('192.0.2.9')
  for (let i = 0; i < 5; i++) expect((await ask('192.0.2.9')).status).toBe(429)
  expect(await redis.get(keyOf('192.0.2.9'))).toBe(String(LIMIT))
})

test('callers have each their own, from whatever address; one who is not known has that of its address', async () => {
  const keys = ['one', 'two'].map(name => `${name}:${name}-0123456789abcdef`)
  const guarded = await startGateway({
    redisUrl: server.url,
    env: { ...ENV, MILLRACE_AUTH: 'on', MILLRACE_API_KEYS: keys.join(',') },
  })
  const as = (name: string, address: string) =>
    call(`${guarded.url}/v1/task-types`, {
      headers: { 'X-Forwarded-For': address, Authorization: `Bearer ${name}-0123456789abcdef` },
    })
  await redis.set('mr:rate:c:key:one', 0, 'EX', HELD_S)
  for (let i = 0; i < LIMIT; i++) expect((await as('one', `192.0.2.${20 + i}`)).status).toBe(200)
  expectProblem(await as('one', '192.0.2.30'), 429, 'rate-limited')

  await hold('192.0.2.31')
  for (let i = 0; i < LIMIT; i++) expectProblem(await as(`guess${i}`, '192.0.2.31'), 401, 'unauthorized')
  expectProblem(await as('guess', '192.0.2.31'), 429, 'rate-limited')
  expect((await as('two', '192.0.2.31')).status).toBe(200)
  expect((await call(`${guarded.url}/health/ready`)).status).toBe(200)
  await guarded.stop()
})

test('without a limit nothing is counted or said', async () => {
  const gateway = await startGateway({ redisUrl: server.url })
  const { headers } = await call(`${gateway.url}/v1/task-types`)
  expect([...headers.keys()].filter(name => name.startsWith('ratelimit'))).toEqual([])
  expect(await redis.exists(keyOf('127.0.0.1'))).toBe(0)
  await gateway.stop()
})

test('while Redis does not answer, and while it is gone, each gateway counts by itself', async () => {
  const burst = () => Promise.all(Array.from({ length: 2 * LIMIT }, () => ask('192.0.2.10')))
  const meetsLimit = async () => {
    const statuses = (await burst()).map(({ status }) => status)
    for (const status of statuses) expect([429, 503]).toContain(status)
    return statuses.includes(429)
  }
  process.kill(server.pid, 'SIGSTOP')
  try {
    await until('the limit is met', meetsLimit)
  } finally {
    process.kill(server.pid, 'SIGCONT')
  }
  await server.stop()
  await until('the limit is met', meetsLimit)
  await server.restart()
  await until('Redis is back', async () => (await ask('192.0.2.11')).status === 200)
})
