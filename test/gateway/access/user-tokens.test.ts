// JWTs of users: those that are good, and every way in which one is not.

import { createHmac } from 'node:crypto'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { type CryptoKey, exportJWK, exportSPKI, generateKeyPair, SignJWT } from 'jose'
import { type Answer, call, expectProblem } from '../../support/http.ts'
import { startGateway, type TestGateway } from '../../support/processes.ts'
import { startRedis, type TestRedis } from '../../support/redis.ts'
import { until } from '../../support/until.ts'

const SECRET = 'a secret of users, with 32 characters'
const [AUDIENCE, ISSUER] = ['millrace.example', 'https://users.example']

let redis: TestRedis
let keyServer: Server
/** What the key server answers. */
let keySet: { keys: object[] } | 'away' = { keys: [] }
/** How often it was asked. */
let asked = 0
/** Checks by the secret alone, without audience and issuer. */
let plain: TestGateway
/** Checks by the key server, and by the secret, with both. */
let strict: TestGateway
let pairs: Record<'RS256' | 'ES256' | 'EdDSA', { publicKey: CryptoKey; privateKey: CryptoKey }>

beforeAll(async () => {
  redis = await startRedis()
  keyServer = createServer((_, response) => {
    asked++
    if (keySet === 'away') response.destroy()
    else response.end(JSON.stringify(keySet))
  })
  await new Promise<void>(resolve => keyServer.listen(0, '127.0.0.1', resolve))
  const [rs, es, ed] = await Promise.all([
    generateKeyPair('RS256'),
    generateKeyPair('ES256'),
    generateKeyPair('EdDSA'),
  ])
  pairs = { RS256: rs, ES256: es, EdDSA: ed }
  const keys = Object.entries(pairs).map(async ([alg, { publicKey }]) => ({
    ...(await exportJWK(publicKey)),
    kid: alg,
    use: 'sig',
  }))
  keySet = { keys: await Promise.all(keys) }
  plain = await startGateway({ redisUrl: redis.url, env: { MILLRACE_JWT_SECRET: SECRET } })
  strict = await startGateway({
    redisUrl: redis.url,
    env: {
      MILLRACE_JWKS_URL: `http://127.0.0.1:${(keyServer.address() as AddressInfo).port}/keys`,
      MILLRACE_JWT_SECRET: SECRET,
      MILLRACE_JWT_AUDIENCE: AUDIENCE,
      MILLRACE_JWT_ISSUER: ISSUER,
    },
  })
})

afterAll(async () => {
  await Promise.all([plain.stop(), strict.stop()])
  keyServer.closeAllConnections()
  keyServer.close()
  await redis.close()
})

const now = () => Math.floor(Date.now() / 1000)
const ALL = { tasks: ['*'], subscribe: ['*'], publish: ['*'] }

/** A token of HS256, good unless `claims` says otherwise. */
function signed(claims: Record<string, unknown> = {}, secret = SECRET): Promise<string> {
  const payload = { sub: 'ada', exp: now() + 60, millrace: ALL, ...claims }
  return new SignJWT(payload).setProtectedHeader({ alg: 'HS256' }).sign(Buffer.from(secret))
}

function signedBy(alg: keyof typeof pairs, kid: string | undefined = alg, claims = {}): Promise<string> {
  const payload = { sub: 'ada', exp: now() + 60, aud: AUDIENCE, iss: ISSUER, millrace: ALL, ...claims }
  return new SignJWT(payload)
    .setProtectedHeader({ alg, ...(kid !== undefined && { kid }) })
    .sign(pairs[alg].privateKey)
}

const bearer = (token: string) => ({ Authorization: `Bearer ${token}` })
const list = (gateway: TestGateway, token: string): Promise<Answer> =>
  call(`${gateway.url}/v1/tasks`, { headers: bearer(token) })

/** A token put together by hand. */
function forged(header: object, claims: object, sign: (text: string) => string): string {
  const text = [header, claims].map(part => Buffer.from(JSON.stringify(part)).toString('base64url')).join('.')
  return `${text}.${sign(text)}`
}

describe('a token by the secret', () => {
  test('is taken', async () => expect((await list(plain, await signed())).status).toBe(200))

  test.each<[string, () => string | Promise<string>]>([
    ['without an end', () => signed({ exp: undefined })],
    ['that has expired', () => signed({ exp: now() - 1 })],
    ['that is not good yet', () => signed({ nbf: now() + 60 })],
    ['of another secret', () => signed({}, 'another secret of 32 characters, it is')],
    [
      'with another payload',
      async () => (await signed()).replace(/\.[^.]*\./, `.${btoa('{"exp":9999999999}')}.`),
    ],
    ['without its signature', async () => (await signed()).replace(/[^.]*$/, '')],
    ['of no algorithm', () => forged({ alg: 'none' }, { exp: now() + 60, millrace: ALL }, () => '')],
    [
      'of no algorithm, in capitals',
      () => forged({ alg: 'NONE' }, { exp: now() + 60, millrace: ALL }, () => ''),
    ],
    [
      'of another HMAC',
      () =>
        new SignJWT({ exp: now() + 60 })
          .setProtectedHeader({ alg: 'HS512' })
          .sign(Buffer.from(SECRET.repeat(2))),
    ],
    ['of public keys, which are not configured', () => signedBy('RS256')],
    ['with a critical header that is not known', () => forged({ alg: 'HS256', crit: ['x'], x: 1 }, {}, hmac)],
    ['that is no JSON', () => `${btoa('x')}.${btoa('y')}.z`],
    ['that is very long', () => signed({ filler: 'x'.repeat(8_000) })],
  ])('%s is not', async (_, make) => {
    const answer = await list(plain, await make())
    expectProblem(answer, 401, 'unauthorized')
    expect(answer.headers.get('www-authenticate')).toBe('Bearer')
  })

  const hmac = (text: string) => createHmac('sha256', SECRET).update(text).digest('base64url')

  test.each([
    ['no object', 'tasks'],
    ['nothing', null],
    ['a field that is not known', { task: ['*'] }],
    ['no list', { tasks: '*' }],
    ['a pattern with a * in its middle', { subscribe: ['a*b'] }],
    ['an empty pattern', { subscribe: [''] }],
    ['a pattern with a line end', { publish: ['a\n'] }],
    ['too many patterns', { publish: Array.from({ length: 51 }, (_, i) => `room:${i}`) }],
  ])('whose claim is %s is not', async (_, millrace) => {
    const answer = await list(plain, await signed({ millrace }))
    expectProblem(answer, 401, 'unauthorized')
    expect(answer.body.detail).toContain("the token's claim millrace")
  })

  test('is not taken any more once it has expired, although it is known', async () => {
    const token = await signed({ exp: now() + 2 })
    expect((await list(plain, token)).status).toBe(200)
    let answer = await list(plain, token)
    while (answer.status === 200) answer = await list(plain, token)
    expectProblem(answer, 401, 'unauthorized')
    expect(answer.body.detail).toBe('the token has expired')
  })

  test('needs the audience and issuer that are configured', async () => {
    const ask = async (claims: object) => (await list(strict, await signed({ ...claims }))).status
    expect(await ask({ aud: AUDIENCE, iss: ISSUER })).toBe(200)
    expect(await ask({ aud: ['other', AUDIENCE], iss: ISSUER })).toBe(200)
    expect(await ask({ iss: ISSUER })).toBe(401)
    expect(await ask({ aud: AUDIENCE })).toBe(401)
    expect(await ask({ aud: 'other', iss: ISSUER })).toBe(401)
    expect(await ask({ aud: AUDIENCE, iss: `${ISSUER}/` })).toBe(401)
  })
})

describe('a token by a public key', () => {
  test.each(['RS256', 'ES256', 'EdDSA'] as const)('of %s is taken', async alg => {
    expect((await list(strict, await signedBy(alg))).status).toBe(200)
    expect((await list(strict, await signedBy(alg, undefined))).status).toBe(200)
  })

  test('does not pass as an HMAC of that key', async () => {
    const claims = { exp: now() + 60, aud: AUDIENCE, iss: ISSUER, millrace: ALL }
    for (const secret of [
      await exportSPKI(pairs.RS256.publicKey),
      JSON.stringify(await exportJWK(pairs.RS256.publicKey)),
    ]) {
      const sign = (text: string) => createHmac('sha256', secret).update(text).digest('base64url')
      expectProblem(
        await list(strict, forged({ alg: 'HS256', kid: 'RS256' }, claims, sign)),
        401,
        'unauthorized',
      )
    }
  })

  test('of a key with another algorithm, or that is not there, is not', async () => {
    expectProblem(await list(strict, await signedBy('RS256', 'ES256')), 401, 'unauthorized')
    expectProblem(await list(strict, await signedBy('RS256', 'unknown')), 401, 'unauthorized')
  })

  test('that has expired, or is of another audience, is not', async () => {
    expectProblem(
      await list(strict, await signedBy('ES256', 'ES256', { exp: now() - 1 })),
      401,
      'unauthorized',
    )
    expectProblem(await list(strict, await signedBy('ES256', 'ES256', { aud: 'x' })), 401, 'unauthorized')
  })

  test('is taken while the key server is away, if its key is known', async () => {
    const before = keySet
    keySet = 'away'
    expect((await list(strict, await signedBy('EdDSA', 'EdDSA', { sub: 'grace' }))).status).toBe(200)
    keySet = before
  })

  test('is a matter for later on a gateway that has never reached the key server', async () => {
    const before = keySet
    keySet = 'away'
    const { port } = keyServer.address() as AddressInfo
    const env = { MILLRACE_JWKS_URL: `http://127.0.0.1:${port}/keys` }
    const gateway = await startGateway({ redisUrl: redis.url, env })
    const [askedBefore, from] = [asked, performance.now()]
    for (let i = 0; i < 20; i++) {
      const answer = await list(gateway, await signedBy('RS256', `unknown-${i}`))
      expectProblem(answer, 503, 'token-keys-unavailable')
      expect(answer.headers.get('retry-after')).toBe('1')
    }
    // Whoever sends tokens of any kind can't make it ask for each.
    const seconds = Math.ceil((performance.now() - from) / 1000)
    expect(asked - askedBefore).toBeLessThanOrEqual(1 + seconds)
    keySet = before
    const token = await signedBy('RS256')
    await until('the keys are there', async () => (await list(gateway, token)).status === 200)
    await gateway.stop()
  })
})

describe('the claim of a token', () => {
  const as = async (millrace: object, path: string, body?: object) => {
    const headers = { Accept: 'application/json', ...bearer(await signed({ millrace })) }
    return call(plain.url + path, { headers, ...(body && { body }) })
  }

  test('without anything in it lets do nothing', async () => {
    for (const path of ['/v1/tasks', '/v1/tasks/a', '/v1/task-types', '/v1/channels/a/events'])
      expectProblem(await as({}, path), 403, 'forbidden')
    expectProblem(await as({}, '/v1/tasks', { type: 'a' }), 403, 'forbidden')
  })

  test('names tasks that may be read, watched and cancelled, by their ids', async () => {
    const some = { tasks: ['ada-*', 'one'] }
    for (const path of ['/v1/tasks/ada-1', '/v1/tasks/one', '/v1/tasks/one/events'])
      expectProblem(await as(some, path), 404, 'task-not-found')
    for (const path of ['/v1/tasks/bob-1', '/v1/tasks/one1', '/v1/tasks/bob-1/events', '/v1/tasks'])
      expectProblem(await as(some, path), 403, 'forbidden')
    expectProblem(await as(some, '/v1/tasks/ada-1/cancel', {}), 404, 'task-not-found')
    expectProblem(await as(some, '/v1/tasks/bob-1/cancel', {}), 403, 'forbidden')
    expectProblem(await as(some, '/v1/tasks/bob-1/retry', {}), 403, 'forbidden')
  })

  test('names tasks that may be submitted, by their ids and types', async () => {
    const some = { tasks: ['ada-*'], types: ['report-*'] }
    const submit = (body: object) => as(some, '/v1/tasks', body)
    expectProblem(await submit({ type: 'report-a', id: 'ada-1' }), 422, 'unknown-task-type')
    expectProblem(await submit({ type: 'http', id: 'ada-1' }), 403, 'forbidden', ['type'])
    expectProblem(await submit({ type: 'report-a', id: 'bob-1' }), 403, 'forbidden', ['id'])
    expectProblem(await submit({ type: 'report-a' }), 403, 'forbidden', ['id'])
    expectProblem(await as({ tasks: ['*'] }, '/v1/tasks', { type: 'a' }), 422, 'unknown-task-type')
  })

  test('names channels to watch and to publish to', async () => {
    const some = { subscribe: ['room:*', 'task:a'], publish: ['room:1'] }
    expect((await as(some, '/v1/channels/room:7/events')).status).toBe(200)
    expectProblem(await as(some, '/v1/channels/user:7/events'), 403, 'forbidden')
    expectProblem(await as(some, '/v1/tasks/a/events'), 404, 'task-not-found')
    expectProblem(await as(some, '/v1/tasks/a'), 403, 'forbidden')
    expectProblem(await as(some, '/v1/events?channel=room:1&channel=user:1'), 403, 'forbidden')
    expect((await as(some, '/v1/channels/room:1/events', { data: 1 })).status).toBe(201)
    expectProblem(await as(some, '/v1/channels/room:2/events', { data: 1 }), 403, 'forbidden')
  })

  test('opens neither schedules nor tokens', async () => {
    expectProblem(await as(ALL, '/v1/schedules'), 403, 'forbidden')
    expectProblem(await as(ALL, '/v1/tokens', { subscribe: ['a'] }), 403, 'forbidden')
  })
})
