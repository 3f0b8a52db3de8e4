// Whatever a request holds, in whichever of its parts: it is refused in the gateway's own words, or done as it stands.

import { afterAll, beforeAll, expect, test } from '@jest/globals'
import fc from 'fast-check'
import { call, expectProblem } from '../support/http.ts'
import { startGateway } from '../support/processes.ts'
import { type Broker, startBroker } from './broker.ts'
import { hostileJson, hostileText, jsonBombs, quoted } from './hostile-values.ts'
import { expectSound, type RawRequest, send } from './raw-request.ts'

const SECRET = `whsec_${Buffer.alloc(32, 1).toString('base64')}`

let broker: Broker

beforeAll(async () => {
  broker = await startBroker({
    MILLRACE_HTTP_TARGETS: 'http://127.0.0.1:9/jobs',
    MILLRACE_WEBHOOK_SECRET: SECRET,
  })
})
afterAll(() => broker?.close())

/** In a path or query: each byte encoded, or only what would end the request line. */
const inUrl = fc.oneof(
  hostileText.map(text => Buffer.from(text.slice(0, 500)).toString('hex').replace(/../g, '%$&')),
  hostileText.map(text => text.slice(0, 500).replace(/[^\x21-\x7e]|[?#]/g, '_')),
)

/** As far as a client can send it at all. */
const inHeader = hostileText.map(text => text.slice(0, 2_000).replace(/[^\t\x20-\x7e\x80-\xff]/g, ' '))

/** An object of these members, some of which hold what they should, others anything; and now and then another one. */
function bodyWith(members: Readonly<Record<string, string>>): fc.Arbitrary<string> {
  const known = Object.entries(members).map(([name, right]) =>
    fc.tuple(
      fc.constant(name),
      fc.oneof({ weight: 15, arbitrary: fc.constant(right) }, hostileJson),
      fc.boolean(),
    ),
  )
  return fc
    .tuple(
      fc.tuple(...known),
      fc.oneof({ weight: 6, arbitrary: fc.constant(null) }, fc.tuple(hostileText, hostileJson)),
    )
    .map(([fields, other]) => {
      const given = fields
        .filter(([name, , isGiven]) => isGiven || name === 'type')
        .map(([name, json]) => [name, json])
      if (other) given.push([...other])
      return `{${given.map(([name, json]) => `${quoted(name ?? '')}:${json}`).join()}}`
    })
}

const SUBMISSION = {
  type: '"echo"',
  input: '{"text":"x"}',
  id: '"task-1"',
  delayMs: '0',
  priority: '1',
  attempts: '2',
  backoff: '{"type":"fixed","delayMs":1,"jitter":0.5}',
  timeoutMs: '1000',
  expiresInMs: '60000',
  retainMs: '60000',
  concurrencyKey: '"tenant:1"',
  concurrencyLimit: '2',
  callbackUrl: '"http://127.0.0.1:9/jobs"',
  channels: '["user:1"]',
}
const { id: _, delayMs: __, ...template } = SUBMISSION
const timed = { cron: '"0 0 1 1 *"', timeZone: '"Europe/Berlin"', everyMs: '3600000' }

const submission = bodyWith(SUBMISSION)
const batch = fc.array(submission, { minLength: 1, maxLength: 4 }).map(tasks => `{"tasks":[${tasks.join()}]}`)
const schedule = fc
  .tuple(bodyWith(timed), bodyWith(template))
  .map(([timing, task]) => (timing === '{}' ? `{"task":${task}}` : `${timing.slice(0, -1)},"task":${task}}`))
const event = bodyWith({ type: '"price"', data: '{"a":1}' })
const publication = fc.oneof(
  event,
  fc.array(event, { maxLength: 3 }).map(events => `[${events.join()}]`),
  hostileText,
)

const name = (right: string) => fc.oneof(fc.constant(right), inUrl)
const query = (...names: string[]) =>
  fc
    .array(fc.tuple(fc.constantFrom(...names, 'limit'), inUrl), { maxLength: 3 })
    .map(pairs => (pairs.length === 0 ? '' : `?${pairs.map(([key, value]) => `${key}=${value}`).join('&')}`))

const STREAM = ['channel', 'types', 'after', 'lastEventId', 'from', 'named', 'token', 'channel=a&x']
const LIST = ['cursor', 'state', 'type', 'scheduleId', 'concurrencyKey']

const route = (
  method: string,
  path: fc.Arbitrary<string>,
  body?: fc.Arbitrary<string>,
): fc.Arbitrary<RawRequest> => fc.record({ method: fc.constant(method), path, ...(body && { body }) })

const path = (...parts: (string | fc.Arbitrary<string>)[]) =>
  fc
    .tuple(...parts.map(part => (typeof part === 'string' ? fc.constant(part) : part)))
    .map(all => all.join(''))

const requests = fc.oneof(
  { weight: 4, arbitrary: route('POST', fc.constant('/v1/tasks'), submission) },
  { weight: 2, arbitrary: route('POST', fc.constant('/v1/tasks/batch'), batch) },
  { weight: 2, arbitrary: route('PUT', path('/v1/schedules/', name('s1')), schedule) },
  {
    weight: 3,
    arbitrary: route('POST', path('/v1/channels/', name('room:1'), '/events', query('type')), publication),
  },
  route('POST', path('/v1/tasks/', name('task-1'), '/cancel'), bodyWith({ reason: '"x"' })),
  route('POST', path('/v1/tasks/', name('task-1'), '/retry'), bodyWith({})),
  route('POST', fc.constant('/v1/tokens'), bodyWith({ subscribe: '["room:*"]', ttlSeconds: '60' })),
  route('GET', path('/v1/tasks/', name('task-1'))),
  route('GET', path('/v1/tasks/', name('task-1'), '/events', query(...STREAM))),
  route('GET', path('/v1/channels/', name('room:1'), '/events', query(...STREAM))),
  route('GET', path('/v1/events', query(...STREAM))),
  route('GET', path('/v1/tasks', query(...LIST))),
  route('GET', path('/v1/schedules', query(...LIST))),
  route('GET', path('/v1/schedules/', name('s1'))),
  route('DELETE', path('/v1/schedules/', name('s1'))),
  route('GET', path('/', inUrl)),
  route('HEAD', path('/v1/', inUrl)),
  route('OPTIONS', path('/v1/tasks/', inUrl)),
  route('PATCH', path('/v1/', inUrl, '/', inUrl), hostileText),
)

const headers = fc.dictionary(
  fc.constantFrom(
    'Accept',
    'Authorization',
    'Content-Encoding',
    'Content-Type',
    'Cookie',
    'Forwarded',
    'Idempotency-Key',
    'Last-Event-ID',
    'Origin',
    'Prefer',
    'Referer',
    'X-Forwarded-For',
    'X-Request-Id',
  ),
  fc.oneof(
    inHeader,
    fc.constantFrom(
      'text/event-stream',
      'application/json',
      'text/plain',
      'identity',
      '"a key"',
      'wait=0',
      '1-1',
    ),
  ),
  { maxKeys: 3 },
)

test('is answered in the words of the gateway, and harms nothing', async () => {
  await fc.assert(
    fc.asyncProperty(requests, headers, async (request, given) => {
      const answer = await send(broker.url, { ...request, headers: given })
      expectSound(answer)
    }),
    { numRuns: 1_000 },
  )
  await broker.expectUnharmed()
})

test('opens nothing where a credential is asked for and it has none', async () => {
  const env = { MILLRACE_API_KEYS: 'tester:0123456789abcdef', MILLRACE_JWT_SECRET: 'x'.repeat(32) }
  const gateway = await startGateway({ redisUrl: broker.redisUrl, env })
  const credential = fc.oneof(
    inHeader.map(text => ({ Authorization: `Bearer ${text}` })),
    inHeader.map(text => ({ Authorization: text })),
    inHeader.map(text => ({ Cookie: text })),
    fc.tuple(hostileJson, hostileJson, hostileText).map(parts => ({
      Authorization: `Bearer ${parts.map(part => Buffer.from(part).toString('base64url')).join('.')}`,
    })),
  )
  await fc.assert(
    fc.asyncProperty(requests, credential, async (request, headers) => {
      // Browsers ask by it, without a credential, what pages of other origins may do.
      fc.pre(request.method !== 'OPTIONS')
      const answer = await send(gateway.url, { ...request, headers })
      expectSound(answer)
      expect([400, 401, 431]).toContain(answer.status)
    }),
    { numRuns: 200 },
  )
  await gateway.stop()
  await broker.expectUnharmed()
})

test.each(jsonBombs)('is refused where its body is %s', async (_, body) => {
  for (const [method, path] of [
    ['POST', '/v1/tasks'],
    ['POST', '/v1/tasks/batch'],
    ['POST', '/v1/tasks/x/cancel'],
    ['POST', '/v1/tasks/x/retry'],
    ['PUT', '/v1/schedules/x'],
    ['POST', '/v1/channels/x/events'],
  ] as const) {
    const answer = await send(broker.url, { method, path, body })
    expectSound(answer)
    expect([400, 413]).toContain(answer.status)
  }
})

test('is no way to a prototype: the members that JavaScript knows are members like any other', async () => {
  const body =
    '{"type":"echo","__proto__":{"attempts":25},"constructor":{"prototype":{"injected":1}},"toString":1}'
  const answer = await call(`${broker.url}/v1/tasks`, { body })
  expectProblem(answer, 422, 'invalid-body')
  const paths = answer.body.errors.map(({ path }: { path: string }) => path)
  expect(paths.toSorted()).toEqual(['__proto__', 'constructor', 'toString'])
  await broker.expectUnharmed()
})
