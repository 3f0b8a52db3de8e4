import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { call, expectProblem } from '../../support/http.ts'
import { startGateway, type TestGateway } from '../../support/processes.ts'
import { startRedis, type TestRedis } from '../../support/redis.ts'

let redis: TestRedis
let gateway: TestGateway
let channels = 0

beforeAll(async () => {
  redis = await startRedis({ appendFsync: 'everysec' })
  gateway = await startGateway({ redisUrl: redis.url })
})

afterAll(async () => {
  await redis.close()
})

const newChannel = () => `channel-${++channels}`
const urlOf = (channel: string, query = '') => `${gateway.url}/v1/channels/${channel}/events${query}`
const publish = (channel: string, body: unknown) => call(urlOf(channel), { body })

interface Event {
  id: string
  type: string
  time: string
  data: unknown
}

async function historyOf(channel: string): Promise<Event[]> {
  const events: Event[] = []
  let after: string | null = null
  do {
    const query = after ? `?after=${after}` : ''
    const answer = await call(urlOf(channel, query), { headers: { Accept: 'application/json' } })
    events.push(...answer.body.events)
    after = answer.body.next
  } while (after)
  return events
}

test('one event is kept as it was given and answered with its id', async () => {
  const channel = newChannel()
  const answer = await publish(channel, { type: 'order.created', data: { total: 7.5, list: [null, 'é'] } })
  expect(answer.status).toBe(201)
  const [id] = answer.body.ids
  expect(answer.body).toEqual({ ids: [expect.stringMatching(/^\d{13}-1$/)] })
  expect(await historyOf(channel)).toEqual([
    { id, type: 'order.created', time: expect.any(String), data: { total: 7.5, list: [null, 'é'] } },
  ])
})

test.each([[null], [false], [0], [''], [[]], [{}], ['text\nwith lines']])('data may be %j', async data => {
  const channel = newChannel()
  expect((await publish(channel, { data })).status).toBe(201)
  expect(await historyOf(channel)).toMatchObject([{ type: 'message', data }])
})

test('an event without data is refused, and says so', async () => {
  const answer = await publish(newChannel(), { type: 'a' })
  expectProblem(answer, 422, 'invalid-body', ['data'])
  expect(answer.body.errors[0].message).toBe('is required')
})

test('nobody publishes what tells viewers that their credential has expired', async () => {
  const type = 'credential-expired'
  expectProblem(await publish(newChannel(), { type, data: {} }), 422, 'invalid-body', ['type'])
  const text = { method: 'POST', headers: { 'Content-Type': 'text/plain' }, body: '{}' }
  expectProblem(await call(urlOf(newChannel(), `?type=${type}`), text), 400, 'invalid-query', ['type'])
})

test('text is kept as it is, named by the query', async () => {
  const channel = newChannel()
  const headers = { 'Content-Type': 'text/plain; charset=utf-8' }
  for (const [query, body] of [
    ['?type=line', '{"not": json}\r\nsecond line'],
    ['', ''],
  ] as const)
    expect((await call(urlOf(channel, query), { method: 'POST', headers, body })).status).toBe(201)
  expect(await historyOf(channel)).toMatchObject([
    { type: 'line', data: '{"not": json}\r\nsecond line' },
    { type: 'message', data: '' },
  ])
})

describe('an array', () => {
  test('of 1,000 events is appended in order under consecutive ids', async () => {
    const channel = newChannel()
    const events = Array.from({ length: 1_000 }, (_, i) => ({ type: `t${i % 7}`, data: i }))
    const { status, body } = await publish(channel, events)
    expect(status).toBe(201)
    const [epoch] = body.ids[0].split('-')
    expect(body.ids).toEqual(events.map((_, i) => `${epoch}-${i + 1}`))
    const history = await historyOf(channel)
    expect(history.map(({ type, data }) => ({ type, data }))).toEqual(events)
    expect(history.map(({ id }) => id)).toEqual(body.ids)
  })

  test('is not mixed with what others publish at the same time', async () => {
    const channel = newChannel()
    const batches = Array.from({ length: 20 }, (_, batch) =>
      Array.from({ length: 50 }, (_, i) => ({ data: { batch, i } })),
    )
    const answers = await Promise.all(batches.map(batch => publish(channel, batch)))
    const history = await historyOf(channel)
    expect(history.map(({ id }) => Number(id.split('-')[1]))).toEqual(
      Array.from({ length: 1_000 }, (_, i) => i + 1),
    )
    const byId = new Map(history.map(event => [event.id, event.data]))
    for (const [b, { body }] of answers.entries())
      expect(body.ids.map((id: string) => byId.get(id))).toEqual(batches[b]!.map(({ data }) => data))
  })

  test('with one bad event appends none', async () => {
    const channel = newChannel()
    const good = { data: 1 }
    expectProblem(await publish(channel, [good, { type: 'not ok', data: 1 }]), 422, 'invalid-body', [
      '1.type',
    ])
    const tooLarge = { data: 'x'.repeat(64 * 1024) }
    expectProblem(await publish(channel, [good, good, tooLarge]), 413, 'event-too-large', ['2.data'])
    expect(await historyOf(channel)).toEqual([])
  })
})

describe('a body is refused with its path', () => {
  test.each<[unknown, string[]]>([
    [{}, ['data']],
    [{ type: 'a' }, ['data']],
    [{ data: 1, id: 'own' }, ['id']],
    [{ type: '', data: 1 }, ['type']],
    [{ type: 'a b', data: 1 }, ['type']],
    [{ type: 'x'.repeat(65), data: 1 }, ['type']],
    [{ type: null, data: 1 }, ['type']],
    [[], ['']],
    [[{ data: 1 }, 7], ['1']],
    [[{ data: 1 }, { data: 1, more: 1 }], ['1.more']],
    [new Array(1_001).fill({ data: 1 }), ['']],
  ])('%#', async (body, paths) => {
    expectProblem(await publish(newChannel(), body), 422, 'invalid-body', paths)
  })

  test('as text with a bad type', async () => {
    const headers = { 'Content-Type': 'text/plain' }
    const answer = await call(urlOf(newChannel(), '?type=a%20b'), { headers, body: 'text' })
    expectProblem(answer, 400, 'invalid-query', ['type'])
  })

  test('as text that is not UTF-8', async () => {
    const bytes = Uint8Array.from([0x61, 0xff])
    const send = (type: string) =>
      call(urlOf(newChannel()), { headers: { 'Content-Type': type }, body: bytes })
    expectProblem(await send('text/plain'), 400, 'invalid-request')
    expectProblem(await send('text/plain; charset=utf-16'), 400, 'invalid-header')
  })
})

describe('the size of an event', () => {
  const limit = 64 * 1024

  test.each([
    ['JSON', (bytes: number) => ({ body: JSON.stringify({ data: 'x'.repeat(bytes - 2) }) })],
    ['text', (bytes: number) => ({ body: 'x'.repeat(bytes), headers: { 'Content-Type': 'text/plain' } })],
    [
      'text beyond ASCII',
      (bytes: number) => ({
        body: `${'é'.repeat(bytes / 2 - 1)}${'x'.repeat(2 + (bytes % 2))}`,
        headers: { 'Content-Type': 'text/plain' },
      }),
    ],
  ])('is at most 64 KiB of %s', async (_, of) => {
    expect((await call(urlOf(newChannel()), of(limit))).status).toBe(201)
    expectProblem(await call(urlOf(newChannel()), of(limit + 1)), 413, 'event-too-large', ['data'])
  })
})

describe('a channel', () => {
  test.each(['a', 'user:42', 'A.b_c-d', 'tasks', 'task', 'x'.repeat(128), 'a%3Ab'])(
    'may be named %s',
    async name => {
      expect((await publish(name, { data: 1 })).status).toBe(201)
    },
  )

  test.each(['task:1', 'task:', 'task%3A1', 'task:../x'.replace('/', '%2F')])(
    '%s is reserved',
    async name => {
      expectProblem(await publish(name, { data: 1 }), 403, 'reserved-channel')
    },
  )

  test.each(['-a', ':a', '.a', 'a%20b', 'a%2Fb', 'x'.repeat(129), '%C3%A9', 'a%0Ab', '%7B%7D', '%', '*'])(
    '%s is no name',
    async name => {
      expectProblem(await publish(name, { data: 1 }), 422, 'invalid-channel')
    },
  )
})
