// Whether a gateway starts with access control, without it, or not at all.

import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { call, expectProblem } from '../../support/http.ts'
import { startGateway } from '../../support/processes.ts'
import { startRedis, type TestRedis } from '../../support/redis.ts'

let redis: TestRedis
beforeAll(async () => {
  redis = await startRedis()
})
afterAll(() => redis.close())

const start = (env: Record<string, string>) => startGateway({ redisUrl: redis.url, env })
const KEY = { MILLRACE_API_KEYS: 'web:the-secret-of-web' }
const headers = { Authorization: 'Bearer the-secret-of-web' }

test('without a word it is off on loopback, and says so', async () => {
  const gateway = await start({})
  expect(gateway.output()).toContain('access control is off: whoever reaches this address may do everything')
  expect((await call(`${gateway.url}/v1/tasks`)).status).toBe(200)
  // What was made for a gateway with access control works here too.
  const minted = await call(`${gateway.url}/v1/tokens`, { headers, body: { subscribe: ['a'] } })
  const stream = `${gateway.url}/v1/channels/a/events?token=${minted.body.token}`
  expect((await call(stream, { headers: { Accept: 'application/json' } })).status).toBe(200)
  // But not the other way round, since anybody could have made it.
  const closed = await start(KEY)
  const there = stream.replace(gateway.url, closed.url)
  expectProblem(await call(there, { headers: { Accept: 'application/json' } }), 401, 'unauthorized')
  await Promise.all([gateway.stop(), closed.stop()])
})

test.each([KEY, { ...KEY, MILLRACE_AUTH: 'on' }, { ...KEY, HOST: '0.0.0.0' }])(
  'with a key it is on: %j',
  async env => {
    const gateway = await start(env)
    expect(gateway.output()).not.toContain('access control is off')
    const url = gateway.url.replace('0.0.0.0', '127.0.0.1')
    expectProblem(await call(`${url}/v1/tasks`), 401, 'unauthorized')
    expect((await call(`${url}/v1/tasks`, { headers })).status).toBe(200)
    await gateway.stop()
  },
)

test('off is stronger than a key, and says so', async () => {
  const gateway = await start({ ...KEY, MILLRACE_AUTH: 'off', HOST: '0.0.0.0' })
  expect(gateway.output()).toContain('may do everything; the keys that are configured are not asked for')
  await gateway.stop()
})

test.each([
  [{ HOST: '0.0.0.0' }, 'MILLRACE_AUTH: HOST=0.0.0.0 is reachable'],
  [{ HOST: '::' }, 'MILLRACE_AUTH: HOST=:: is reachable'],
  [{ MILLRACE_AUTH: 'on' }, 'MILLRACE_AUTH: nobody could come in'],
  [{ MILLRACE_AUTH: 'on', MILLRACE_API_KEYS_FILE: '/dev/null' }, 'MILLRACE_API_KEYS_FILE: has no key'],
  [{ MILLRACE_API_KEYS: 'web:short' }, 'MILLRACE_API_KEYS: entry 1 (web) has no secret of at least 16'],
  [{ MILLRACE_JWT_SECRET: 'x'.repeat(31) }, 'MILLRACE_JWT_SECRET: must have at least 32 characters'],
  [{ MILLRACE_JWKS_URL: 'file:///etc/passwd' }, 'MILLRACE_JWKS_URL: must be an http:// or https:// URL'],
  [{ MILLRACE_AUTH: 'maybe' }, 'MILLRACE_AUTH: '],
])('it does not start with %j', async (env, why) => {
  await expect(start(env as Record<string, string>)).rejects.toMatchObject({
    code: 1,
    stderr: expect.stringContaining(why),
  })
})
