import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { call, expectProblem } from '../../support/http.ts'
import { startGateway, type TestGateway } from '../../support/processes.ts'
import { startRedis, type TestRedis } from '../../support/redis.ts'

let redis: TestRedis
let gateway: TestGateway
const at = (path: string) => gateway.url + path

beforeAll(async () => {
  redis = await startRedis()
  gateway = await startGateway({ redisUrl: redis.url })
})

afterAll(async () => {
  await redis.close()
})

describe('the request id', () => {
  test("is the caller's when it is well-formed", async () => {
    const answer = await call(at('/v1/task-types'), { headers: { 'X-Request-Id': 'my.request_1-2' } })
    expect(answer.headers.get('x-request-id')).toBe('my.request_1-2')
  })

  test.each(['has blanks', 'a/b', 'x'.repeat(129), 'é'])('is a new one instead of %j', async id => {
    const given = { 'X-Request-Id': Buffer.from(id).toString('latin1') }
    const answer = await call(at('/v1/task-types'), { headers: given })
    expect(answer.headers.get('x-request-id')).toMatch(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/)
  })

  test('stands on refusals too, and in their body', async () => {
    const answer = await call(at('/nowhere'), { headers: { 'X-Request-Id': 'seen' } })
    expect(answer.body.requestId).toBe('seen')
  })
})

test('a JSON body may begin with a byte order mark', async () => {
  const body = Buffer.from('\uFEFF{"data":1}')
  expect((await call(at('/v1/channels/a/events'), { body })).status).toBe(201)
})

describe('a page of another site', () => {
  const from = (site: string) => ({ headers: { 'Sec-Fetch-Site': site } })

  test('can not write, whatever it sends', async () => {
    for (const path of ['/v1/tasks', '/v1/tasks/a/cancel', '/v1/channels/a/events']) {
      const answer = await call(at(path), { ...from('cross-site'), method: 'POST', body: { data: 1 } })
      expectProblem(answer, 403, 'cross-site-request')
    }
  })

  test.each(['same-origin', 'same-site', 'none'])('is told from %s', async site => {
    const answer = await call(at('/v1/channels/a/events'), { ...from(site), body: { data: 1 } })
    expect(answer.status).toBe(201)
  })
})

describe('a path or method that is not served', () => {
  test.each(['/nowhere', '/v1', '/v1/nothing', '/V1/tasks', '/v1/tasks/a/b/c', '/%', '/v1//tasks'])(
    '%s is a problem',
    async path => expectProblem(await call(at(path)), 404, 'not-found'),
  )

  test.each([
    ['DELETE', '/v1/tasks', 'HEAD, GET, POST'],
    ['GET', '/v1/tasks/a/cancel', 'POST'],
    ['PUT', '/v1/channels/a/events', 'GET, HEAD, POST'],
    ['PROPFIND', '/v1/task-types', 'GET, HEAD'],
  ])('%s %s names what is allowed', async (method, path, allowed) => {
    const answer = await call(at(path), { method })
    expectProblem(answer, 405, 'method-not-allowed')
    const names = answer.headers.get('allow')!.split(', ')
    expect(names.sort()).toEqual(allowed.split(', ').sort())
  })
})

describe('a body', () => {
  const entrances = ['/v1/tasks', '/v1/tasks/a/cancel', '/v1/channels/a/events']

  describe.each(entrances)('to %s', path => {
    test.each([
      ['not JSON', 'hello'],
      ['cut off', '{"type": "a"'],
      ['a second value', '{} {}'],
      ['NaN', 'NaN'],
      ['a number beyond doubles', '{"data": 1e999}'],
      ['nested a hundred thousand deep', '['.repeat(100_000) + ']'.repeat(100_000)],
      ['broken UTF-8', Uint8Array.from([0x22, 0xff, 0xfe, 0x22])],
    ])('that is %s is refused', async (_, body) => {
      expectProblem(await call(at(path), { body }), 400, 'invalid-json')
    })

    test('over 1 MiB is refused, announced or not', async () => {
      const body = JSON.stringify({ data: 'x'.repeat(1024 * 1024) })
      expectProblem(await call(at(path), { body }), 413, 'body-too-large')
      const stream = new Blob([body]).stream()
      const response = await fetch(at(path), { method: 'POST', body: stream, duplex: 'half' } as RequestInit)
      expect(response.status).toBe(413)
    })

    test('in a content encoding is refused', async () => {
      const answer = await call(at(path), { body: '{}', headers: { 'Content-Encoding': 'gzip' } })
      expectProblem(answer, 400, 'invalid-header')
    })

    test.each([['null'], ['"text"'], ['7'], ['true']])('that is %s is no object', async body => {
      expectProblem(await call(at(path), { body }), 422, 'invalid-body', [''])
    })

    test('with a __proto__ pollutes nothing', async () => {
      await call(at(path), {
        body: '{"__proto__": {"polluted": true}, "constructor": {"prototype": {"polluted": true}}}',
      })
      const { status, body } = await call(at('/health/live'))
      expect({ status, body }).toEqual({ status: 200, body: { status: 'ok', problems: [], warnings: [] } })
    })
  })

  test.each(['/v1/tasks', '/v1/channels/a/events'])('is needed by %s', async path => {
    expectProblem(await call(at(path), { method: 'POST' }), 400, 'invalid-json')
  })

  test('is JSON whatever its content type says, but for text to a channel', async () => {
    const headers = { 'Content-Type': 'application/octet-stream' }
    expect((await call(at('/v1/channels/a/events'), { headers, body: '{"data": 1}' })).status).toBe(201)
  })
})

test('every answer keeps browsers from making more of it', async () => {
  for (const path of ['/v1/tasks', '/nowhere', '/health/live']) {
    const { headers } = await call(at(path))
    expect(headers.get('content-security-policy')).toBe("default-src 'none'; frame-ancestors 'none'")
    expect(headers.get('x-content-type-options')).toBe('nosniff')
    expect(headers.get('cache-control')).toBe('no-store')
  }
})

test('the page is served under a policy that allows nothing from elsewhere', async () => {
  const { status, headers, text } = await call(at('/'))
  expect(status).toBe(200)
  expect(headers.get('content-type')).toBe('text/html; charset=utf-8')
  expect(headers.get('content-security-policy')).toMatch(/^default-src 'none'; script-src 'self';/)
  for (const directive of [
    "base-uri 'none'",
    "form-action 'self'",
    "frame-ancestors 'none'",
    "require-trusted-types-for 'script'",
  ])
    expect(headers.get('content-security-policy')).toContain(directive)
  expect(headers.get('content-security-policy')).not.toMatch(/unsafe|\*|https?:/)
  expect(headers.get('referrer-policy')).toBe('no-referrer')
  expect(headers.get('cross-origin-opener-policy')).toBe('same-origin')
  expect(headers.get('cross-origin-resource-policy')).toBe('same-origin')
  expect(headers.get('permissions-policy')).toMatch(/^camera=\(\), /)
  expect(headers.get('x-content-type-options')).toBe('nosniff')
  expect(text).toMatch(/^<!doctype html>/i)
  const scripts = [...text.matchAll(/(?:src|href)="(\/[^"]+\.(?:js|css))"/g)].map(match => match[1]!)
  expect(scripts.length).toBeGreaterThan(0)
  for (const path of scripts) expect((await call(at(path))).status).toBe(200)
})

describe('the ops port', () => {
  test('has every metric of a gateway, with routes as patterns', async () => {
    await call(at('/v1/tasks/some-id'))
    await call(at('/nowhere/at/all'))
    const { text } = await call(`${gateway.opsUrl}/metrics`)
    expect(text).toMatch(
      /millrace_http_request_duration_seconds_count\{method="GET",route="\/v1\/tasks\/:id",status="404"\} \d/,
    )
    expect(text).toMatch(/_count\{method="GET",route="none",status="404"\} \d/)
    expect(text).not.toMatch(/some-id|nowhere/)
    for (const name of [
      'millrace_sse_connections',
      'millrace_sse_connections_closed_total',
      'millrace_channels_active',
      'millrace_events_received_total',
      'millrace_events_sent_total',
      'millrace_delivery_seconds',
      'millrace_catchups_total',
      'millrace_gaps_total',
      'millrace_pubsub_probe_seconds',
      'millrace_redis_connected',
      'millrace_tasks_submitted_total',
      'millrace_build_info',
      'process_cpu_seconds_total',
    ])
      expect(text).toContain(`# TYPE ${name} `)
  })

  test('answers for its health like the main port', async () => {
    for (const path of ['/health/live', '/health/ready']) {
      const [main, ops] = await Promise.all([call(at(path)), call(gateway.opsUrl + path)])
      expect(main.status).toBe(200)
      expect(ops.body).toEqual(main.body)
    }
  })
})
