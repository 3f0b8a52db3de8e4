// Who may do what: each call with no credential, with the wrong one and with the right one.

import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import Router from '@koa/router'
import { SCOPES, type Scope } from '../../../gateway/access/caller.ts'
import { RULES, requireRules } from '../../../gateway/access/rules.ts'
import { type AppParts, createRouter } from '../../../gateway/app.ts'
import { call, expectProblem } from '../../support/http.ts'
import { startGateway, type TestGateway } from '../../support/processes.ts'
import { startRedis, type TestRedis } from '../../support/redis.ts'

/** What opens each call, said once more and by hand. */
const OPENED_BY: Record<string, readonly Scope[] | 'public'> = {
  'GET /health/live': 'public',
  'GET /health/ready': 'public',
  'POST /v1/tasks': ['tasks.write'],
  'POST /v1/tasks/batch': ['tasks.write'],
  'GET /v1/tasks': ['tasks.read'],
  'GET /v1/tasks/:id': ['tasks.read'],
  'POST /v1/tasks/:id/cancel': ['tasks.write'],
  'POST /v1/tasks/:id/retry': ['tasks.write'],
  'GET /v1/tasks/:id/events': ['tasks.read', 'subscribe'],
  'GET /v1/channels/:channel/events': ['subscribe'],
  'GET /v1/events': ['subscribe'],
  'POST /v1/channels/:channel/events': ['publish'],
  'GET /v1/task-types': ['tasks.read', 'tasks.write'],
  'PUT /v1/schedules/:id': ['schedules'],
  'GET /v1/schedules/:id': ['schedules'],
  'DELETE /v1/schedules/:id': ['schedules'],
  'GET /v1/schedules': ['schedules'],
  'POST /v1/tokens': ['tokens'],
}

const routes = createRouter({} as AppParts).stack.flatMap(({ methods, path }) =>
  methods.filter(method => method !== 'HEAD').map(method => `${method} ${path}`),
)

test('each route has a rule, and each rule a route', () => {
  expect(routes.toSorted()).toEqual(Object.keys(RULES).toSorted())
  expect(Object.keys(OPENED_BY).toSorted()).toEqual(Object.keys(RULES).toSorted())
})

test('a route without a rule is not started with, nor a method', () => {
  const router = new Router()
  router.get('/v1/tasks', () => undefined)
  requireRules(router)
  router.delete('/v1/tasks', () => undefined)
  expect(() => requireRules(router)).toThrow('no rule says who may DELETE /v1/tasks')
})

const secretOf = (name: string) => `the-secret-of-${name}`
const key = (name: string) => ({ Authorization: `Bearer ${secretOf(name)}` })

let redis: TestRedis
let gateway: TestGateway

beforeAll(async () => {
  redis = await startRedis()
  const keys = [...SCOPES.map(scope => `${scope}:${secretOf(scope)}:${scope}`), `all:${secretOf('all')}`]
  gateway = await startGateway({ redisUrl: redis.url, env: { MILLRACE_API_KEYS: keys.join() } })
})

afterAll(async () => {
  await gateway.stop()
  await redis.close()
})

/** A request of a call, that nothing but access control refuses with 401 or 403. */
function ask(route: string, headers: Record<string, string>) {
  const [method = '', pattern = ''] = route.split(' ')
  const path = pattern.replace(':id', 'no-such-1').replace(':channel', 'room:1')
  const query = route === 'GET /v1/events' ? '?channel=room:1' : ''
  return call(`${gateway.url}${path}${query}`, {
    method,
    headers: { Accept: 'application/json', ...headers },
    ...((method === 'POST' || method === 'PUT') && { body: {} }),
  })
}

describe.each(Object.entries(OPENED_BY))('%s', (route, openedBy) => {
  if (openedBy === 'public') {
    test('is answered to everybody', async () => expect((await ask(route, {})).status).toBe(200))
    return
  }

  test('is 401 without a credential, or with one that is none', async () => {
    for (const headers of [
      {},
      { Authorization: 'Bearer the-secret-of-nobody' },
      { Authorization: 'Basic eDp5' },
    ]) {
      const answer = await ask(route, headers)
      expectProblem(answer, 401, 'unauthorized')
      expect(answer.headers.get('www-authenticate')).toBe('Bearer')
    }
  })

  test.each(SCOPES)('with a key that has %s alone', async scope => {
    const answer = await ask(route, key(scope))
    if (openedBy.includes(scope)) expect([200, 201, 204, 404, 409, 422]).toContain(answer.status)
    else expectProblem(answer, 403, 'forbidden')
  })

  test('is opened by a key without scopes', async () => {
    expect([200, 201, 204, 404, 409, 422]).toContain((await ask(route, key('all'))).status)
  })
})

describe('without a credential', () => {
  test.each([
    ['GET', '/'],
    ['GET', '/index.html'],
    ['GET', '/nowhere'],
    ['GET', '/v1'],
    ['GET', '/health'],
    ['GET', '/health/live/'],
    ['POST', '/health/live'],
    ['DELETE', '/v1/tasks'],
    ['OPTIONS', '/v1/tasks'],
    ['PROPFIND', '/v1/tasks'],
  ])('%s %s says nothing of what is there', async (method, path) => {
    expectProblem(await call(gateway.url + path, { method }), 401, 'unauthorized')
  })

  test('with one, what is not there is not found', async () => {
    expectProblem(await call(`${gateway.url}/nowhere`, { headers: key('tokens') }), 404, 'not-found')
    expect((await call(`${gateway.url}/`, { headers: key('tokens') })).status).toBe(200)
  })
})

describe('a submission', () => {
  const channels = ['room:1']

  test('into channels needs the right to publish there', async () => {
    const one = await call(`${gateway.url}/v1/tasks`, {
      headers: key('tasks.write'),
      body: { type: 'a', channels },
    })
    expectProblem(one, 403, 'forbidden', ['channels.0'])
    const body = { tasks: [{ type: 'a' }, { type: 'a', channels }] }
    const batch = await call(`${gateway.url}/v1/tasks/batch`, { headers: key('tasks.write'), body })
    expect(batch.body.results.map(({ status }: { status: number }) => status)).toEqual([422, 403])
    expect(batch.body.results[1].problem.errors[0].path).toBe('tasks.1.channels.0')
  })

  test('of a schedule needs the right to submit', async () => {
    const body = { everyMs: 1_000, task: { type: 'a' } }
    const answer = await call(`${gateway.url}/v1/schedules/a`, {
      method: 'PUT',
      headers: key('schedules'),
      body,
    })
    expectProblem(answer, 403, 'forbidden', ['task.id'])
  })
})

describe('channels of tasks', () => {
  const url = (channels: string) => `${gateway.url}/v1/events?${channels}`
  const headers = { ...key('tasks.read'), Accept: 'application/json' }

  test('are open to who may read their tasks, and others are not', async () => {
    expect((await call(url('channel=task:a&channel=task:b'), { headers })).status).toBe(200)
    expectProblem(await call(url('channel=task:a&channel=room:1'), { headers }), 403, 'forbidden')
    expect((await call(`${gateway.url}/v1/channels/task:a/events`, { headers })).status).toBe(404)
  })
})

test('idempotency keys of two callers are two', async () => {
  const publish = (name: string, data: number) =>
    call(`${gateway.url}/v1/channels/idem/events`, {
      headers: { ...key(name), 'Idempotency-Key': 'same' },
      body: { data },
    })
  expect((await publish('all', 1)).status).toBe(201)
  expect((await publish('publish', 2)).status).toBe(201)
  expectProblem(await publish('all', 2), 422, 'idempotency-key-reused')
})

describe('an API key', () => {
  test('may be sent with its name', async () => {
    const headers = { Authorization: `bearer all:${secretOf('all')}` }
    expect((await call(`${gateway.url}/v1/tasks`, { headers })).status).toBe(200)
  })

  test('is not taken from a URL, and does not stand in the log', async () => {
    const url = `${gateway.url}/v1/channels/room:1/events?token=${secretOf('all')}`
    const headers = { Accept: 'application/json' }
    expectProblem(await call(url, { headers }), 401, 'unauthorized')
    expect(gateway.output()).not.toContain('the-secret-of')
  })
})

describe('a cookie', () => {
  const cookie = { Cookie: `other=1; millrace=${secretOf('all')}` }
  const publish = (headers: Record<string, string>) =>
    call(`${gateway.url}/v1/channels/room:1/events`, {
      headers: { ...cookie, ...headers },
      body: { data: 1 },
    })

  test('lets read', async () => {
    expect((await call(`${gateway.url}/v1/tasks`, { headers: cookie })).status).toBe(200)
  })

  test('lets pages of this origin write', async () => {
    expect((await publish({ Origin: gateway.url })).status).toBe(201)
    // What is behind a proxy that ends TLS.
    expect((await publish({ Origin: gateway.url.replace('http:', 'https:') })).status).toBe(201)
  })

  test.each([
    [{}],
    [{ Origin: 'null' }],
    [{ Origin: 'https://evil.example' }],
    [{ Origin: 'http://127.0.0.1:1' }],
  ])('lets nobody else write: %j', async headers => {
    expectProblem(await publish(headers as Record<string, string>), 403, 'cross-site-request')
  })

  test('counts less than a header', async () => {
    expectProblem(await publish({ Authorization: 'Bearer nonsense' }), 401, 'unauthorized')
    expect((await publish(key('publish'))).status).toBe(201)
  })
})
