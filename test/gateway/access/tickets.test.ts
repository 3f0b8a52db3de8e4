// Tickets and minted tokens, and what becomes of a stream when its credential expires.

import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { Redis } from 'ioredis'
import { SignJWT } from 'jose'
import { deriveKey } from '../../../gateway/access/signing-key.ts'
import { SubscriberTokens } from '../../../gateway/access/subscriber-tokens.ts'
import { SIGNING_SECRET_KEY } from '../../../shared/keys.ts'
import { type Answer, call, expectProblem } from '../../support/http.ts'
import { startGateway, startWorker, type TestGateway, type TestProcess } from '../../support/processes.ts'
import { startRedis, type TestRedis } from '../../support/redis.ts'
import { until } from '../../support/until.ts'
import { openViewer } from '../../support/viewer.ts'

const KEYS =
  'all:the-secret-of-all,minter:the-secret-of-minter:tokens,reader:the-secret-of-reader:tokens,tasks.read'
const JWT_SECRET = 'a secret of users, with 32 characters'

let redis: TestRedis
let client: Redis
let worker: TestProcess
/** They agree by Redis alone. */
let a: TestGateway
let b: TestGateway
/** With a secret of their own. */
let secretive: TestGateway

beforeAll(async () => {
  redis = await startRedis()
  client = new Redis(redis.url)
  const env = { MILLRACE_API_KEYS: KEYS, LOG_LEVEL: 'debug' }
  const secretEnv = { ...env, MILLRACE_JWT_SECRET: JWT_SECRET }
  ;[a, b] = await Promise.all([
    startGateway({ redisUrl: redis.url, env }),
    startGateway({ redisUrl: redis.url, env }),
  ])
  ;[secretive, worker] = await Promise.all([
    startGateway({ redisUrl: redis.url, env: secretEnv }),
    startWorker({ redisUrl: redis.url }),
  ])
})

afterAll(async () => {
  client.disconnect()
  await Promise.all([a.stop(), b.stop(), secretive.stop(), worker.stop()])
  await redis.close()
})

const key = (name: string) => ({ Authorization: `Bearer the-secret-of-${name}` })
const bearer = (token: string) => ({ Authorization: `Bearer ${token}` })
const post = (gateway: TestGateway, path: string, body: object, headers = key('all')): Promise<Answer> =>
  call(gateway.url + path, { headers, body })
const countdown = { type: 'countdown', input: { steps: 1, intervalMs: 1 } }
const ticketOf = (task: { links: { events: string } }) =>
  new URLSearchParams(task.links.events.split('?')[1]).get('token') ?? ''
const history = (url: string) => call(url, { headers: { Accept: 'application/json' } })

describe('the ticket in links.events', () => {
  test('opens the events of its task, on any gateway, to whoever has the URL', async () => {
    const { body: task } = await post(a, '/v1/tasks', countdown)
    expect(task.links.events).toMatch(/^\/v1\/tasks\/[^/]+\/events\?token=/)
    const viewer = await openViewer(b.url + task.links.events)
    expect(viewer.status).toBe(200)
    expect(await viewer.done).toBe('ended')
    expect(viewer.events.at(-1)?.type).toBe('completed')
    await viewer.connect(b.url + task.links.events)
    expect(viewer.status).toBe(204)
    expect(a.output() + b.output()).not.toContain(ticketOf(task).split('.')[2])
  })

  test('stands in every answer that has a task', async () => {
    const { body: task } = await post(a, '/v1/tasks', { ...countdown, id: 'ticketed' })
    const { body: slow } = await post(a, '/v1/tasks', { type: 'countdown', delayMs: 60_000 })
    const tasks = [
      task,
      (await call(`${a.url}/v1/tasks/ticketed`, { headers: key('all') })).body,
      (await call(`${a.url}/v1/tasks`, { headers: key('all') })).body.tasks[0],
      (await post(a, '/v1/tasks/batch', { tasks: [countdown] })).body.results[0].task,
      (await post(a, `/v1/tasks/${slow.id}/cancel`, {})).body,
      (await post(a, `/v1/tasks/${slow.id}/retry`, {})).body,
    ]
    for (const { id, links } of tasks) {
      expect(links.events).toMatch(`/v1/tasks/${id}/events?token=`)
      expect((await history(a.url + links.events)).status).toBe(200)
    }
  })

  test('lives for 15 minutes, and no longer than the token that it was asked with', async () => {
    const expOf = (token: string) => JSON.parse(atob(token.split('.')[1] ?? '')).exp as number
    const now = Date.now() / 1000
    const { body: task } = await post(secretive, '/v1/tasks', countdown)
    expect(Math.abs(expOf(ticketOf(task)) - now - 900)).toBeLessThan(30)
    const exp = Math.floor(now) + 300
    const user = new SignJWT({ exp, millrace: { tasks: ['*'] } }).setProtectedHeader({ alg: 'HS256' })
    const headers = bearer(await user.sign(Buffer.from(JWT_SECRET)))
    const { body } = await call(`${secretive.url}/v1/tasks/${task.id}`, { headers })
    expect(expOf(ticketOf(body))).toBe(exp)
  })

  test('opens nothing else', async () => {
    const [one, other] = await Promise.all([
      post(a, '/v1/tasks', { ...countdown, id: 'one' }),
      post(a, '/v1/tasks', { ...countdown, id: 'other' }),
    ])
    const ticket = ticketOf(one.body)
    expectProblem(await history(`${a.url}/v1/tasks/other/events?token=${ticket}`), 403, 'forbidden')
    expectProblem(await history(`${a.url}/v1/events?channel=task:other&token=${ticket}`), 403, 'forbidden')
    expect((await history(`${a.url}/v1/events?channel=task:one&token=${ticket}`)).status).toBe(200)
    for (const path of ['/v1/tasks', '/v1/tasks/one', '/v1/task-types', '/v1/schedules'])
      expectProblem(await call(a.url + path, { headers: bearer(ticket) }), 403, 'forbidden')
    for (const path of ['/v1/tasks', '/v1/tasks/one/cancel', '/v1/channels/a/events', '/v1/tokens'])
      expectProblem(await post(a, path, {}, bearer(ticket)), 403, 'forbidden')
    expect(other.status).toBe(202)
  })

  test('counts in the URL of a stream alone', async () => {
    const { body: task } = await post(a, '/v1/tasks', countdown)
    const ticket = ticketOf(task)
    expectProblem(await call(`${a.url}/v1/tasks/${task.id}?token=${ticket}`), 401, 'unauthorized')
    const publish = `${a.url}/v1/channels/room/events?token=${ticket}`
    expectProblem(await call(publish, { body: { data: 1 } }), 401, 'unauthorized')
    // A header counts before it.
    const url = `${a.url}/v1/tasks/${task.id}/events?token=${ticket}`
    const headers = { Accept: 'application/json', ...bearer('nonsense') }
    expectProblem(await call(url, { headers }), 401, 'unauthorized')
  })

  test('is not taken when something of it was changed', async () => {
    const { body: task } = await post(a, '/v1/tasks', countdown)
    const [header, , signature] = ticketOf(task).split('.')
    const payload = Buffer.from('{"subscribe":["*"],"exp":9999999999}').toString('base64url')
    for (const token of [`${header}.${payload}.${signature}`, `${header}.${payload}.`, header])
      expectProblem(await history(`${a.url}/v1/channels/x/events?token=${token}`), 401, 'unauthorized')
  })

  test("is none if it is a user's JWT that says so, nor the other way round", async () => {
    const payload = { subscribe: ['*'], millrace: { subscribe: ['*'] }, exp: 9_999_999_999 }
    const asTicket = new SignJWT(payload).setProtectedHeader({ alg: 'HS256', typ: 'millrace+jwt' })
    const url = (token: string) => `${secretive.url}/v1/channels/x/events?token=${token}`
    expectProblem(await history(url(await asTicket.sign(Buffer.from(JWT_SECRET)))), 401, 'unauthorized')
    const asUser = new SignJWT(payload).setProtectedHeader({ alg: 'HS256' })
    expectProblem(await history(url(await asUser.sign(deriveKey(JWT_SECRET)))), 401, 'unauthorized')
    expect((await history(url(await asUser.sign(Buffer.from(JWT_SECRET))))).status).toBe(200)
  })
})

describe('POST /v1/tokens', () => {
  test('mints a token that opens the channels that it names, in a header or a URL', async () => {
    const before = Date.now()
    const { status, body } = await post(a, '/v1/tokens', { subscribe: ['task:1', 'room:*'], ttlSeconds: 60 })
    expect(status).toBe(201)
    const lifeMs = Date.parse(body.expiresAt) - before
    expect(lifeMs).toBeGreaterThanOrEqual(60_000)
    const open = `${b.url}/v1/channels/room:7/events`
    expect((await history(`${open}?token=${body.token}`)).status).toBe(200)
    expect(
      (await call(open, { headers: { Accept: 'application/json', ...bearer(body.token) } })).status,
    ).toBe(200)
    expectProblem(await history(`${b.url}/v1/channels/user:7/events?token=${body.token}`), 403, 'forbidden')
    expectProblem(
      await post(b, '/v1/channels/room:7/events', { data: 1 }, bearer(body.token)),
      403,
      'forbidden',
    )
    expectProblem(
      await post(b, '/v1/tokens', { subscribe: ['task:1'] }, bearer(body.token)),
      403,
      'forbidden',
    )
  })

  test.each([
    [{}, 'subscribe'],
    [{ subscribe: [] }, 'subscribe'],
    [{ subscribe: ['a b'] }, 'subscribe.0'],
    [{ subscribe: ['*a'] }, 'subscribe.0'],
    [{ subscribe: ['a'], ttlSeconds: 0 }, 'ttlSeconds'],
    [{ subscribe: ['a'], ttlSeconds: 86_401 }, 'ttlSeconds'],
    [{ subscribe: ['a'], ttlSeconds: 1.5 }, 'ttlSeconds'],
    [{ subscribe: ['a'], publish: ['a'] }, 'publish'],
  ])('refuses %j', async (body, path) => {
    expectProblem(await post(a, '/v1/tokens', body), 422, 'invalid-body', [path])
  })

  test('refuses more patterns than fit into a URL', async () => {
    for (const subscribe of [Array(51).fill('a'), Array(50).fill('a'.repeat(100))])
      expectProblem(await post(a, '/v1/tokens', { subscribe }), 422, 'invalid-body', ['subscribe'])
  })

  test('gives nobody more than they may themselves', async () => {
    const mint = (name: string, ...subscribe: string[]) => post(a, '/v1/tokens', { subscribe }, key(name))
    expectProblem(await mint('minter', 'room:1'), 403, 'forbidden', ['subscribe.0'])
    expect((await mint('reader', 'task:*')).status).toBe(201)
    expectProblem(await mint('reader', 'task:1', 'task*'), 403, 'forbidden', ['subscribe.1'])
    expectProblem(await mint('reader', '*'), 403, 'forbidden', ['subscribe.0'])
  })
})

describe('a stream', () => {
  const inEnvelope = expect.objectContaining({
    channel: null,
    id: null,
    type: 'credential-expired',
    data: {},
  })

  test.each([
    ['of a channel', '/v1/channels/live/events?', 'credential-expired', {}],
    ['of several channels', '/v1/events?channel=live&channel=more&', 'credential-expired', inEnvelope],
    ['without names', '/v1/channels/live/events?named=false&', 'message', inEnvelope],
  ])('%s tells of the end of its credential, and ends; coming back is 401', async (_, path, type, data) => {
    const { body } = await post(a, '/v1/tokens', { subscribe: ['live', 'more'], ttlSeconds: 1 })
    const url = `${a.url}${path}token=${body.token}`
    const viewer = await openViewer(url)
    await viewer.until(({ lastEventId }) => lastEventId !== '')
    await post(b, '/v1/channels/live/events', { type: 'seen', data: 1 })
    expect(await viewer.done).toBe('ended')
    expect(Date.now()).toBeGreaterThanOrEqual(Date.parse(body.expiresAt))
    const [event, end] = viewer.events
    expect(end?.type).toBe(type)
    expect(JSON.parse(end?.data ?? '')).toEqual(data)
    // It does not move the cursor.
    expect(end?.id).toBe(event?.id)
    await viewer.connect(url)
    expect(viewer.status).toBe(401)
    const metrics = await (await fetch(`${a.opsUrl}/metrics`)).text()
    expect(metrics).toMatch(/millrace_sse_connections_closed_total\{reason="expired"\} [1-9]/)
  })

  test('goes on with another token where it was', async () => {
    const mint = async (ttlSeconds: number) =>
      (await post(a, '/v1/tokens', { subscribe: ['on'], ttlSeconds })).body.token as string
    const url = (token: string) => `${a.url}/v1/channels/on/events?token=${token}`
    const viewer = await openViewer(url(await mint(1)))
    await viewer.until(({ lastEventId }) => lastEventId !== '')
    await viewer.done
    await post(a, '/v1/channels/on/events', { type: 'missed', data: 1 })
    await viewer.connect(url(await mint(60)))
    await viewer.until(({ events }) => events.some(({ type }) => type === 'missed'))
  })
})

describe('the key that signs', () => {
  const ask = async (gateway: TestGateway, token: string) =>
    (await history(`${gateway.url}/v1/channels/kept/events?token=${token}`)).status
  const mint = async (gateway: TestGateway) =>
    (await post(gateway, '/v1/tokens', { subscribe: ['kept'] })).body.token as string

  test('comes from the secret of JWTs where there is one', async () => {
    expect(await ask(a, await mint(secretive))).toBe(401)
    expect(await ask(secretive, await mint(secretive))).toBe(200)
  })

  test('outlives the data of Redis', async () => {
    const token = await mint(a)
    await client.del(SIGNING_SECRET_KEY)
    await until('a gateway has put it back', () => client.exists(SIGNING_SECRET_KEY).then(Boolean))
    const c = await startGateway({ redisUrl: redis.url, env: { MILLRACE_API_KEYS: KEYS } })
    expect(await ask(c, token)).toBe(200)
    await c.stop()
  })

  test('is changed in Redis', async () => {
    const token = await mint(a)
    await client.set(SIGNING_SECRET_KEY, 'another secret, and a longer one')
    await until(
      'both have taken it',
      // In this order: the second says of `a` only what the first says of `b`.
      async () => (await ask(b, token)) === 401 && (await ask(b, await mint(a))) === 200,
    )
  })

  test.each(['', 'guessed'])('is replaced in Redis where it can be guessed: %j', async secret => {
    const token = await mint(a)
    await client.set(SIGNING_SECRET_KEY, secret)
    await until('a gateway has replaced it', async () => (await client.get(SIGNING_SECRET_KEY)) !== secret)
    const key = deriveKey(secret)
    const forger = new SubscriberTokens({ current: () => key })
    const forged = forger.sign({ subscribe: ['*'], expiresAt: Date.now() + 60_000 })
    for (const gateway of [a, b]) {
      expect(await ask(gateway, forged)).toBe(401)
      expect(await ask(gateway, token)).toBe(200)
    }
  })
})

describe('a user with several tokens', () => {
  const as = async (tasks: string[], path: string, request: Parameters<typeof call>[1], lifeS = 60) => {
    const claims = { sub: 'ada', exp: Math.floor(Date.now() / 1000) + lifeS, millrace: { tasks } }
    const token = await new SignJWT(claims).setProtectedHeader({ alg: 'HS256' }).sign(Buffer.from(JWT_SECRET))
    const headers = { ...bearer(token), ...request?.headers }
    return call(secretive.url + path, { ...request, headers })
  }

  test('gets no answer of before with one that may not have it', async () => {
    const headers = { 'Idempotency-Key': 'one' }
    const one = { body: { ...countdown, id: 'ada-1' }, headers }
    expect((await as(['ada-*'], '/v1/tasks', one)).status).toBe(202)
    expect((await as(['ada-*'], '/v1/tasks', one)).headers.get('idempotency-replayed')).toBe('true')
    expectProblem(await as(['eve-*'], '/v1/tasks', one), 403, 'forbidden', ['id'])
    const two = {
      body: { tasks: [{}, { ...countdown, id: 'ada-2' }] },
      headers: { 'Idempotency-Key': 'two' },
    }
    expect((await as(['ada-*'], '/v1/tasks/batch', two)).status).toBe(207)
    expect((await as(['ada-*'], '/v1/tasks/batch', two)).headers.get('idempotency-replayed')).toBe('true')
    expectProblem(await as(['eve-*'], '/v1/tasks/batch', two), 403, 'forbidden', ['tasks.1.id'])
  })

  test('waits no longer for a task than its token lives', async () => {
    const { body: task } = await post(secretive, '/v1/tasks', { ...countdown, delayMs: 3_600_000 })
    const path = `/v1/tasks/${task.id}`
    const waiting = as(['*'], path, { headers: { Prefer: 'wait=60' } }, 2)
    const events = `${secretive.url}${path}/events?token=`
    // As long as the token that waits, or longer.
    const { body: minted } = await post(secretive, '/v1/tokens', { subscribe: ['*'], ttlSeconds: 3 })
    await until('both have expired', async () => (await history(events + minted.token)).status === 401)
    await post(secretive, `${path}/cancel`, {})
    expect((await waiting).body.state).toBe('scheduled')
  })
})
