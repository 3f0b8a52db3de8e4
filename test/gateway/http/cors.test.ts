/** What pages of other origins may do, by the headers that browsers go by. */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { AllowedOrigins } from '../../../gateway/http/allowed-origins.ts'
import { call, expectProblem } from '../../support/http.ts'
import { startGateway, type TestGateway } from '../../support/processes.ts'
import { startRedis, type TestRedis } from '../../support/redis.ts'
import { openViewer } from '../../support/viewer.ts'

const APP = 'https://app.example'
const OTHER = 'https://other.example'
const EXPOSED = 'access-control-expose-headers'
const ALLOWED = 'access-control-allow-origin'
const CREDENTIALS = 'access-control-allow-credentials'

let redis: TestRedis
let named: TestGateway
let open: TestGateway
let closed: TestGateway

beforeAll(async () => {
  redis = await startRedis()
  const start = (MILLRACE_CORS_ORIGINS: string) =>
    startGateway({ redisUrl: redis.url, env: { MILLRACE_CORS_ORIGINS } })
  ;[named, open, closed] = await Promise.all([start(`${APP}, http://[::1]:3000`), start('*'), start('')])
})

afterAll(async () => {
  await redis.close()
})

const preflight = (gateway: TestGateway, origin: string) =>
  call(`${gateway.url}/v1/tasks`, {
    method: 'OPTIONS',
    headers: {
      Origin: origin,
      'Access-Control-Request-Method': 'POST',
      'Access-Control-Request-Headers': 'authorization,content-type,idempotency-key',
    },
  })

describe('a page of an origin in the list', () => {
  test('is told by a preflight what it may send, with its credentials', async () => {
    const { status, headers, text } = await preflight(named, APP)
    expect({ status, text }).toEqual({ status: 204, text: '' })
    expect(headers.get(ALLOWED)).toBe(APP)
    expect(headers.get(CREDENTIALS)).toBe('true')
    expect(headers.get('access-control-allow-methods')).toBe('GET,HEAD,POST,PUT,DELETE')
    expect(headers.get('access-control-allow-headers')).toBe('authorization,content-type,idempotency-key')
    expect(headers.get('access-control-max-age')).toBe('7200')
    expect(headers.get('vary')).toBe('Origin')
  })

  test('may read answers and refusals, and what their headers say', async () => {
    for (const [path, expected] of [
      ['/v1/task-types', 200],
      ['/v1/tasks/unknown', 404],
      ['/nowhere', 404],
      ['/health/ready', 200],
    ] as const) {
      const { status, headers } = await call(named.url + path, { headers: { Origin: APP } })
      expect({ path, status }).toEqual({ path, status: expected })
      expect(headers.get(ALLOWED)).toBe(APP)
      expect(headers.get(CREDENTIALS)).toBe('true')
      expect(headers.get(EXPOSED)?.split(',')).toEqual(
        expect.arrayContaining([
          'X-Request-Id',
          'Location',
          'Retry-After',
          'RateLimit',
          'Idempotency-Replayed',
        ]),
      )
    }
  })

  test('may follow an event stream', async () => {
    const viewer = await openViewer(`${named.url}/v1/channels/a/events`, { headers: { Origin: APP } })
    expect(viewer.response.headers).toMatchObject({
      'content-type': 'text/event-stream',
      [ALLOWED]: APP,
      [CREDENTIALS]: 'true',
      vary: 'Origin',
    })
    viewer.cut()
  })

  test('may write, though it is of another site', async () => {
    const headers = { Origin: APP, 'Sec-Fetch-Site': 'cross-site' }
    const answer = await call(`${named.url}/v1/channels/a/events`, { headers, body: { data: 1 } })
    expect(answer.status).toBe(201)
    expect(answer.headers.get(ALLOWED)).toBe(APP)
  })
})

describe('a page of another origin', () => {
  test.each([OTHER, `${APP}.evil.example`, `${APP}:8443`, 'http://app.example', 'null'])(
    '%s is told nothing and may not write',
    async origin => {
      const headers = { Origin: origin, 'Sec-Fetch-Site': 'cross-site' }
      for (const answer of [
        await preflight(named, origin),
        await call(`${named.url}/v1/task-types`, { headers }),
      ]) {
        expect([...answer.headers.keys()].filter(name => name.startsWith('access-control-'))).toEqual([])
        expect(answer.headers.get('vary')).toBe('Origin')
      }
      const write = await call(`${named.url}/v1/channels/a/events`, { headers, body: { data: 1 } })
      expectProblem(write, 403, 'cross-site-request')
    },
  )

  test('is told nothing by a gateway without a list', async () => {
    const { headers } = await preflight(closed, APP)
    expect([...headers.keys()].filter(name => /^(access-control-|vary)/.test(name))).toEqual([])
  })
})

test('with * a page of any origin may read and write, but without its cookies', async () => {
  const { headers } = await preflight(open, OTHER)
  expect(headers.get(ALLOWED)).toBe('*')
  expect(headers.get(CREDENTIALS)).toBeNull()
  const crossSite = { Origin: OTHER, 'Sec-Fetch-Site': 'cross-site' }
  const write = await call(`${open.url}/v1/channels/a/events`, { headers: crossSite, body: { data: 1 } })
  expect(write.status).toBe(201)
  expect(write.headers.get(ALLOWED)).toBe('*')
})

describe('MILLRACE_CORS_ORIGINS', () => {
  test.each([
    ['app.example', '"app.example" is not an origin'],
    ['https://app.example/', 'did you mean https://app.example?'],
    ['https://App.example', 'did you mean https://app.example?'],
    ['https://app.example:443', 'did you mean https://app.example?'],
    ['https://*.example', 'is not an origin'],
    ['null', '"null" is not an origin'],
    ['file:///a', 'is not an origin'],
    ['https://app.example/path', 'did you mean https://app.example?'],
  ])('refuses %s', (text, message) => {
    expect(() => new AllowedOrigins(`${APP},${text}`)).toThrow(
      new RegExp(`^MILLRACE_CORS_ORIGINS: .*${message.replaceAll('?', '\\?')}`),
    )
  })

  test('shows no password of an entry', () => {
    expect(() => new AllowedOrigins('https://me:hidden@app.example')).toThrow(
      /^(?!.*hidden).*"app\.example" is not/,
    )
  })

  test('keeps named origins apart from *', () => {
    const origins = new AllowedOrigins(`*,${APP}`)
    expect([origins.allows(OTHER), origins.trusts(OTHER), origins.trusts(APP)]).toEqual([true, false, true])
  })
})
