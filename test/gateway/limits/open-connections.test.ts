/** Streams and waits over the limits of a caller and of an address. */
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { type Answer, call, expectProblem } from '../../support/http.ts'
import { startGateway, startWorker, type TestGateway } from '../../support/processes.ts'
import { startRedis, type TestRedis } from '../../support/redis.ts'
import { until } from '../../support/until.ts'
import { openViewer, type Viewer } from '../../support/viewer.ts'

const KEYS = { one: 'one-0123456789abcdef', two: 'two-0123456789abcdef' }
const CHANNEL = '/v1/channels/a/events'

let redis: TestRedis
/** Two of an address, any number of a caller. */
let open: TestGateway
/** Two of a caller, any number of an address. */
let guarded: TestGateway

beforeAll(async () => {
  redis = await startRedis()
  const limits = (ofCaller: number, ofAddress: number) => ({
    MILLRACE_TRUSTED_PROXIES: '127.0.0.1',
    MILLRACE_MAX_CONNECTIONS_PER_CALLER: String(ofCaller),
    MILLRACE_MAX_CONNECTIONS_PER_ADDRESS: String(ofAddress),
  })
  const keys = Object.entries(KEYS).map(entry => entry.join(':'))
  ;[open, guarded] = await Promise.all([
    startGateway({ redisUrl: redis.url, env: limits(0, 2) }),
    startGateway({
      redisUrl: redis.url,
      env: { ...limits(2, 0), MILLRACE_AUTH: 'on', MILLRACE_API_KEYS: keys.join(',') },
    }),
    startWorker({ redisUrl: redis.url }),
  ])
})

afterAll(async () => {
  await redis.close()
})

const from = (address: string) => ({ 'X-Forwarded-For': address })
const as = (name: keyof typeof KEYS) => ({ Authorization: `Bearer ${KEYS[name]}` })
const watch = (gateway: TestGateway, headers: Record<string, string>): Promise<Viewer> =>
  openViewer(gateway.url + CHANNEL, { headers })
const refusal = (gateway: TestGateway, headers: Record<string, string>): Promise<Answer> =>
  call(gateway.url + CHANNEL, { headers: { ...headers, Accept: 'text/event-stream' } })

async function metric(gateway: TestGateway, name: string): Promise<number> {
  const { text } = await call(`${gateway.opsUrl}/metrics`)
  const line = text.split('\n').find(line => line.startsWith(`${name} `))
  return Number(line?.slice(name.length) ?? 0)
}

const refused = (gateway: TestGateway, reason: string): Promise<number> =>
  metric(gateway, `millrace_connections_refused_total{reason="${reason}"}`)

test('an address has so many streams, and another one none the less', async () => {
  const viewers = [await watch(open, from('192.0.2.1')), await watch(open, from('192.0.2.1'))]
  const before = await refused(open, 'address')
  const answer = await refusal(open, from('192.0.2.1'))
  expectProblem(answer, 429, 'too-many-connections')
  expect(answer.headers.get('retry-after')).toBe('5')
  expect(await refused(open, 'address')).toBe(before + 1)
  const other = await watch(open, from('192.0.2.2'))
  expect(other.status).toBe(200)

  viewers[0]!.cut()
  await until('there is room again', async () => {
    const viewer = await watch(open, from('192.0.2.1'))
    return viewer.status === 200
  })
})

test('a request that waits for a task counts too, as long as it waits', async () => {
  const headers = { ...from('192.0.2.3'), Prefer: 'wait=60' }
  const submit = async () => {
    const body = { type: 'countdown', input: { steps: 1_000 } }
    return open.url + (await call(`${open.url}/v1/tasks`, { body })).body.links.self
  }
  const urls = [await submit(), await submit()]
  const before = await metric(open, 'millrace_channels_active')
  const leave = new AbortController()
  const waits = urls.map(url => fetch(url, { headers, signal: leave.signal }).catch(() => null))
  await until('both wait', async () => (await metric(open, 'millrace_channels_active')) === before + 2)
  expectProblem(await refusal(open, from('192.0.2.3')), 429, 'too-many-connections')
  expectProblem(await call(urls[0]!, { headers }), 429, 'too-many-connections')
  leave.abort()
  await Promise.all(waits)
  await until('nobody waits', async () => (await watch(open, from('192.0.2.3'))).status === 200)
})

test('a caller has so many, from whatever address', async () => {
  await watch(guarded, { ...as('one'), ...from('192.0.2.4') })
  await watch(guarded, { ...as('one'), ...from('192.0.2.5') })
  expectProblem(await refusal(guarded, { ...as('one'), ...from('192.0.2.6') }), 429, 'too-many-connections')
  expect(await refused(guarded, 'caller')).toBe(1)
  expect((await watch(guarded, { ...as('two'), ...from('192.0.2.4') })).status).toBe(200)
})

test('what is refused, or answers nothing but its head, holds no place', async () => {
  const head = { method: 'HEAD', headers: from('192.0.2.7') }
  for (let i = 0; i < 3; i++) {
    expect((await call(open.url + CHANNEL, head)).status).toBe(200)
    const unknown = await call(`${open.url}/v1/tasks/unknown/events`, {
      headers: { ...from('192.0.2.7'), Accept: 'text/event-stream' },
    })
    expect(unknown.status).toBe(404)
  }
  expect((await watch(open, from('192.0.2.7'))).status).toBe(200)
})

test('processes of this machine are no clients', async () => {
  const direct = await startGateway({
    redisUrl: redis.url,
    env: { MILLRACE_MAX_CONNECTIONS_PER_ADDRESS: '1' },
  })
  for (let i = 0; i < 3; i++) expect((await watch(direct, {})).status).toBe(200)
})

test('a stream that has ended holds its place until its client has read the rest, or is given up', async () => {
  const gateway = await startGateway({
    redisUrl: redis.url,
    env: { MILLRACE_MAX_CONNECTIONS: '1', MILLRACE_MAX_CONNECTION_AGE_MS: '1000' },
  })
  // More than the system takes in between.
  const url = `${gateway.url}/v1/channels/much/events`
  const body = Array.from({ length: 16 }, () => ({ data: 'x'.repeat(60_000) }))
  for (let i = 0; i < 16; i++) expect((await call(url, { body })).status).toBe(201)
  const viewer = await openViewer(`${url}?from=earliest`)
  viewer.pause()
  const ended = 'millrace_sse_connections_closed_total{reason="age"}'
  await until('the stream has ended', async () => (await metric(gateway, ended)) === 1)
  expectProblem(await refusal(gateway, {}), 503, 'gateway-full')
  viewer.cut()
  await until('there is room again', async () => (await watch(gateway, {})).status === 200)
})
