// Event streams as a client sees them: real gateways, real Redis, real sockets.

import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { Redis } from 'ioredis'
import { logKey, taskKey } from '../../shared/keys.ts'
import { RedisEventLog } from '../../shared/redis-event-log.ts'
import { startGateway, type TestGateway } from '../support/processes.ts'
import { startRedis, type TestRedis } from '../support/redis.ts'
import { openViewer, type SeenEvent } from '../support/viewer.ts'

const MAX_EVENTS = 100

let server: TestRedis
let redis: Redis
let log: RedisEventLog
let a: TestGateway
let b: TestGateway

beforeAll(async () => {
  server = await startRedis()
  redis = new Redis(server.url)
  log = new RedisEventLog(redis, {
    channels: { maxEvents: MAX_EVENTS, ttlMs: 60_000 },
    taskMaxEvents: MAX_EVENTS,
  })
  const env = { MILLRACE_CHANNEL_MAX_EVENTS: String(MAX_EVENTS), MILLRACE_HEARTBEAT_MS: '100' }
  ;[a, b] = await Promise.all([
    startGateway({ redisUrl: server.url, env }),
    startGateway({ redisUrl: server.url, env }),
  ])
})

afterAll(async () => {
  redis.disconnect()
  await Promise.all([a.stop(), b.stop()])
  await server.close()
})

const fresh = (): string => `test:${randomUUID()}`
const stream = (gateway: TestGateway, channel: string, query = ''): string =>
  `${gateway.url}/v1/channels/${channel}/events${query}`

async function publish(gateway: TestGateway, channel: string, events: object | object[]): Promise<string[]> {
  const response = await fetch(stream(gateway, channel), {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify(events),
  })
  const { ids } = (await response.json()) as { ids: string[] }
  return ids
}

const numbers = (from: number, to: number): object[] =>
  Array.from({ length: to - from + 1 }, (_, i) => ({ type: 'n', data: from + i }))
const seen = (events: readonly SeenEvent[]): number[] =>
  events.filter(event => event.type === 'n').map(event => Number(event.data))
const range = (from: number, to: number): number[] =>
  Array.from({ length: to - from + 1 }, (_, i) => from + i)

describe('a stream of a channel', () => {
  test('opens with the headers and first bytes that proxies and clients need', async () => {
    const viewer = await openViewer(stream(a, fresh()))
    expect(viewer.status).toBe(200)
    expect(viewer.response.headers['content-type']).toBe('text/event-stream')
    expect(viewer.response.headers['cache-control']).toBe('no-cache, no-transform')
    expect(viewer.response.headers['x-accel-buffering']).toBe('no')
    await viewer.until(({ raw }) => /^retry: 2000\n: /.test(raw))
    viewer.cut()
  })

  test('delivers what is published on another gateway, in order, with ids that count without holes', async () => {
    const channel = fresh()
    const viewer = await openViewer(stream(a, channel))
    await viewer.until(({ lastEventId }) => lastEventId !== '')
    const ids = [
      ...(await publish(b, channel, numbers(1, 3))),
      ...(await publish(a, channel, { type: 'n', data: 4 })),
    ]
    await viewer.until(({ events }) => events.length === 4)
    expect(viewer.events.map(event => event.id)).toEqual(ids)
    expect(seen(viewer.events)).toEqual([1, 2, 3, 4])
    expect(ids.map(id => Number(id.split('-')[1]))).toEqual([1, 2, 3, 4])
    viewer.cut()
  })

  test('delivers a batch at once that is too large for one write', async () => {
    const channel = fresh()
    const viewer = await openViewer(stream(a, channel))
    await viewer.until(({ lastEventId }) => lastEventId !== '')
    await publish(
      b,
      channel,
      Array.from({ length: 16 }, (_, i) => ({ type: 'n', data: `${i}${'x'.repeat(60_000)}` })),
    )
    await viewer.until(({ events }) => events.length === 16)
    expect(viewer.events.map(event => Number.parseInt(event.data.slice(1), 10))).toEqual(range(0, 15))
    viewer.cut()
  })

  test('begins at the end unless asked otherwise, and resumes from there even before its first event', async () => {
    const channel = fresh()
    await publish(a, channel, numbers(1, 3))
    const viewer = await openViewer(stream(a, channel))
    await viewer.until(({ lastEventId }) => lastEventId !== '')
    viewer.cut()
    await viewer.done
    await publish(a, channel, numbers(4, 5))
    await viewer.connect(stream(b, channel))
    await viewer.until(({ events }) => events.length === 2)
    expect(seen(viewer.events)).toEqual([4, 5])
    viewer.cut()
    const early = await openViewer(stream(a, channel, '?from=earliest'))
    await early.until(({ events }) => events.length === 5)
    expect(seen(early.events)).toEqual([1, 2, 3, 4, 5])
    early.cut()
  })

  test('begins with the last events on request, as far as they are kept, and resumes from there', async () => {
    const channel = fresh()
    await publish(a, channel, numbers(1, 5))
    const some = await openViewer(stream(a, channel, '?last=2&from=earliest'))
    const all = await openViewer(stream(b, channel, '?last=10000'))
    const none = await openViewer(stream(b, channel, '?last=0'))
    for (const viewer of [some, all, none])
      await viewer.until(({ lastEventId }) => lastEventId.endsWith('-5'))
    await publish(b, channel, numbers(6, 6))
    for (const viewer of [some, all, none])
      await viewer.until(({ lastEventId }) => lastEventId.endsWith('-6'))
    expect([some, all, none].map(viewer => seen(viewer.events))).toEqual([[4, 5, 6], range(1, 6), [6]])

    await publish(a, channel, numbers(7, 5 + MAX_EVENTS * 3))
    const kept = await openViewer(stream(b, channel, '?last=10000'))
    await kept.until(({ events }) => events.length >= MAX_EVENTS)
    expect(kept.data('gap')).toEqual([])
    expect((await fetch(stream(a, channel, '?last=10001'))).status).toBe(400)
  })

  test('replays exactly what was missed, through any gateway, while events keep coming', async () => {
    const channel = fresh()
    const viewer = await openViewer(stream(a, channel, '?from=earliest'))
    const last = 300
    const publishing = (async () => {
      for (let n = 1; n <= last; n++) await publish(n % 2 ? a : b, channel, { type: 'n', data: n })
    })()
    for (let cut = 1; cut <= 10; cut++) {
      await viewer.until(({ events }) => events.length >= cut * 20)
      viewer.cut()
      await viewer.done
      await viewer.connect(stream(cut % 2 ? b : a, channel, '?from=earliest'))
    }
    await publishing
    await viewer.until(({ events }) => events.length >= last)
    expect(seen(viewer.events)).toEqual(range(1, last))
    viewer.cut()
  })

  test('takes its cursor from the header before the query, and from either name there', async () => {
    const channel = fresh()
    const ids = await publish(a, channel, numbers(1, 5))
    const byQuery = await openViewer(stream(a, channel, `?after=${ids[2]}`))
    await byQuery.until(({ events }) => events.length === 2)
    expect(seen(byQuery.events)).toEqual([4, 5])
    byQuery.cut()
    const byAlias = await openViewer(stream(a, channel, `?lastEventId=${ids[3]}`))
    await byAlias.until(({ events }) => events.length === 1)
    byAlias.cut()
    const byHeader = await openViewer(stream(a, channel, `?after=${ids[0]}`), { lastEventId: ids[3] ?? '' })
    await byHeader.until(({ events }) => events.length === 1)
    expect(seen(byHeader.events)).toEqual([5])
    byHeader.cut()
  })

  test('takes an empty cursor as none', async () => {
    const channel = fresh()
    await publish(a, channel, numbers(1, 2))
    const viewer = await openViewer(stream(a, channel, '?after=&from=earliest'))
    await viewer.until(({ events }) => events.length === 2)
    expect(seen(viewer.events)).toEqual([1, 2])
    viewer.cut()
  })

  test('gives text with its line ends, and JSON as it was published', async () => {
    const channel = fresh()
    const viewer = await openViewer(stream(a, channel, '?from=earliest'))
    await fetch(stream(b, channel, '?type=note'), {
      method: 'POST',
      headers: { 'Content-Type': 'text/plain' },
      body: 'one\ntwo\r\nthree',
    })
    await publish(b, channel, { data: { a: [1, null, 'ü'] } })
    await viewer.until(({ events }) => events.length === 2)
    expect(viewer.events[0]).toMatchObject({ type: 'note', data: 'one\ntwo\nthree' })
    expect(viewer.events[1]).toMatchObject({ type: 'message', data: '{"a":[1,null,"ü"]}' })
    viewer.cut()
  })

  test('sends only the types asked for, and does not lose its place over the others', async () => {
    const channel = fresh()
    const viewer = await openViewer(stream(a, channel, '?from=earliest&types=n'))
    await publish(a, channel, [...numbers(1, 1), { type: 'noise', data: 'x' }])
    await viewer.until(({ lastEventId }) => lastEventId.endsWith('-2'))
    expect(viewer.events.map(event => event.type)).toEqual(['n'])
    viewer.cut()
  })

  test('leaves the event name out on request and says it in the envelope', async () => {
    const channel = fresh()
    const viewer = await openViewer(stream(a, channel, '?from=earliest&named=false'))
    const [id] = await publish(a, channel, { type: 'n', data: 1 })
    await viewer.until(({ events }) => events.length === 1)
    expect(viewer.events[0]).toMatchObject({ id, type: 'message' })
    expect(JSON.parse(viewer.events[0]?.data ?? '')).toMatchObject({ channel, id, type: 'n', data: 1 })
    viewer.cut()
  })

  test('breaks a silence with comments', async () => {
    const viewer = await openViewer(stream(a, fresh()))
    await viewer.until(({ raw }) => raw.split('\n:\n').length > 2)
    expect(viewer.events).toEqual([])
    viewer.cut()
  })
})

describe('a gap', () => {
  test('says how many events were trimmed and where delivery goes on', async () => {
    const channel = fresh()
    const [first] = await publish(a, channel, numbers(1, 1))
    await publish(a, channel, numbers(2, MAX_EVENTS + 51))
    const viewer = await openViewer(stream(a, channel), { lastEventId: first ?? '' })
    await viewer.until(({ events }) => events.length === MAX_EVENTS + 1)
    const [gap, next] = viewer.events
    expect(gap?.type).toBe('gap')
    expect(JSON.parse(gap?.data ?? '')).toEqual({
      channel,
      reason: 'trimmed',
      missed: 50,
      resumedAt: next?.id,
    })
    expect(seen(viewer.events)).toEqual(range(52, MAX_EVENTS + 51))
    viewer.cut()
    // The gap's own id is a cursor from which nothing is missing.
    const resumed = await openViewer(stream(b, channel), { lastEventId: gap?.id ?? '' })
    await resumed.until(({ events }) => events.length === MAX_EVENTS)
    expect(resumed.events[0]).toEqual(next)
    resumed.cut()
  })

  test.each([
    ['reset', '1700000000000-5'],
    ['unknown', 'not-a-cursor'],
    ['unknown', `${'x'.repeat(300)}`],
  ])('is a %s for the cursor %s, and delivery goes on as without one', async (reason, cursor) => {
    const channel = fresh()
    const ids = await publish(a, channel, numbers(1, 3))
    const viewer = await openViewer(stream(a, channel), { lastEventId: cursor })
    await viewer.until(({ events }) => events.length === 1)
    const [epoch] = (ids[2] ?? '').split('-')
    expect(JSON.parse(viewer.events[0]?.data ?? '')).toEqual({
      channel,
      reason,
      missed: null,
      resumedAt: `${epoch}-4`,
    })
    expect(viewer.lastEventId).toBe(ids[2])
    await publish(a, channel, numbers(4, 4))
    await viewer.until(({ events }) => events.length === 2)
    expect(seen(viewer.events)).toEqual([4])
    viewer.cut()
  })

  test('is a reset for a cursor ahead of the log', async () => {
    const channel = fresh()
    const [id] = await publish(a, channel, numbers(1, 1))
    const viewer = await openViewer(stream(a, channel), { lastEventId: (id ?? '').replace(/-1$/, '-9') })
    await viewer.until(({ events }) => events.length === 1)
    expect(JSON.parse(viewer.events[0]?.data ?? '')).toMatchObject({ reason: 'reset' })
    // A client's word alone does not make the log begin anew.
    expect(await publish(a, channel, numbers(2, 2))).toEqual([(id ?? '').replace(/-1$/, '-2')])
    viewer.cut()
  })

  test('reaches a viewer whose log was lost while it looked on', async () => {
    const channel = fresh()
    const viewer = await openViewer(stream(a, channel, '?from=earliest'))
    await publish(a, channel, numbers(1, 3))
    await viewer.until(({ events }) => events.length === 3)
    await redis.del(logKey(channel))
    const [id] = await publish(b, channel, numbers(4, 4))
    await viewer.until(({ events }) => events.length === 5)
    expect(JSON.parse(viewer.events[3]?.data ?? '')).toEqual({
      channel,
      reason: 'reset',
      missed: null,
      resumedAt: id,
    })
    expect(seen(viewer.events)).toEqual([1, 2, 3, 4])
    viewer.cut()
  })
})

describe('a stream of a task', () => {
  async function newTask(...types: string[]): Promise<string> {
    const id = randomUUID()
    const event = (type: string) => ({
      type,
      time: Date.now(),
      format: 'json' as const,
      data: JSON.stringify({ taskId: id }),
    })
    const fixed = { id, attempts: 1, priority: 0, timeoutMs: 1, retainMs: 60_000, createdAt: Date.now() }
    const fields = { type: 'x', state: 'running', run: 1, fixed: JSON.stringify(fixed), input: '{}' }
    await log.appendToTask(id, [event('queued')], { from: [], set: fields })
    for (const type of types) {
      await log.appendToTask(id, [event(type)], {
        from: ['running'],
        set: type === 'completed' ? { state: type } : {},
      })
    }
    return id
  }
  const taskStream = (gateway: TestGateway, id: string, query = ''): string =>
    `${gateway.url}/v1/tasks/${id}/events${query}`

  test('begins with its first event and ends after the terminal one', async () => {
    const id = await newTask('started', 'completed')
    const viewer = await openViewer(taskStream(a, id))
    expect(await viewer.done).toBe('ended')
    expect(viewer.events.map(event => event.type)).toEqual(['queued', 'started', 'completed'])
  })

  test('answers 204 to who has seen the end, so that an EventSource stops', async () => {
    const id = await newTask('completed')
    const viewer = await openViewer(taskStream(a, id))
    await viewer.done
    await viewer.connect(taskStream(b, id))
    expect(viewer.status).toBe(204)
    expect((await openViewer(taskStream(a, id, '?from=latest'))).status).toBe(204)
  })

  test('passes the terminal event through any filter', async () => {
    const id = await newTask('log', 'completed')
    const viewer = await openViewer(taskStream(a, id, '?types=progress'))
    await viewer.done
    expect(viewer.events.map(event => event.type)).toEqual(['completed'])
  })

  test('tells the task as it is after a gap', async () => {
    const id = await newTask()
    for (let i = 0; i < MAX_EVENTS + 20; i++) {
      await log.appendToTask(id, [{ type: 'output', time: 1, format: 'json', data: '{}' }], {
        from: ['running'],
        set: {},
      })
    }
    const epoch = (await redis.hget(taskKey(id), 'lastEventId'))?.split('-')[0]
    const viewer = await openViewer(taskStream(a, id), { lastEventId: `${epoch}-1` })
    await viewer.until(({ events }) => events.length === MAX_EVENTS + 2)
    expect(viewer.data('gap')).toMatchObject([{ channel: `task:${id}`, reason: 'trimmed', missed: 20 }])
    expect(viewer.data('snapshot')).toMatchObject([{ id, state: 'running' }])
    expect(viewer.events.slice(0, 2).map(event => event.type)).toEqual(['gap', 'snapshot'])
    viewer.cut()
  })

  test('of an unknown task is 404', async () => {
    const response = await fetch(taskStream(a, 'nobody'))
    expect(response.status).toBe(404)
    expect(await response.json()).toMatchObject({ code: 'task-not-found' })
  })

  test('of several tasks ends when all have ended, and 204 stops it then', async () => {
    const ids = [await newTask('completed'), await newTask('started')]
    const url = (gateway: TestGateway) =>
      `${gateway.url}/v1/events?${ids.map(id => `channel=task:${id}`).join('&')}`
    const viewer = await openViewer(url(a))
    await viewer.until(({ events }) => events.length === 4)
    await log.appendToTask(ids[1] ?? '', [{ type: 'completed', time: 1, format: 'json', data: '{}' }], {
      from: ['running'],
      set: { state: 'completed' },
    })
    expect(await viewer.done).toBe('ended')
    await viewer.connect(url(b))
    expect(viewer.status).toBe(204)
  })
})

describe('a stream of several channels', () => {
  const both = (gateway: TestGateway, channels: string[], query = ''): string =>
    `${gateway.url}/v1/events?${channels.map(channel => `channel=${channel}`).join('&')}${query}`

  test('wraps each event in its envelope and resumes all channels from one cursor, elsewhere', async () => {
    const channels = [fresh(), fresh(), fresh()]
    const viewer = await openViewer(both(a, channels))
    await viewer.until(({ lastEventId }) => lastEventId !== '')
    const sent: string[] = []
    const send = async (n: number): Promise<void> => {
      const channel = channels[n % 3] ?? ''
      const [id] = await publish(n % 2 ? a : b, channel, { type: 'n', data: n })
      sent.push(`${channel} ${id} ${n}`)
    }
    for (let n = 0; n < 30; n++) await send(n)
    await viewer.until(({ events }) => events.length >= 12)
    viewer.cut()
    await viewer.done
    for (let n = 30; n < 60; n++) await send(n)
    await viewer.connect(both(b, [...channels].reverse()))
    await viewer.until(({ events }) => events.length >= 60)
    const got = viewer.events.map(
      ({ data }) => JSON.parse(data) as { channel: string; id: string; type: string; data: number },
    )
    for (const channel of channels) {
      const of = (lines: string[]): string[] => lines.filter(line => line.startsWith(channel))
      expect(of(got.map(event => `${event.channel} ${event.id} ${event.data}`))).toEqual(of(sent))
    }
    expect(viewer.events).toHaveLength(60)
    viewer.cut()
  })

  test('tells of a cursor that is of another set of channels', async () => {
    const [x, y] = [fresh(), fresh()]
    const viewer = await openViewer(both(a, [x, y]))
    await viewer.until(({ lastEventId }) => lastEventId !== '')
    const other = await openViewer(both(a, [x]), { lastEventId: viewer.lastEventId })
    await other.until(({ events }) => events.length === 1)
    expect(other.events[0]?.type).toBe('gap')
    expect(JSON.parse(other.events[0]?.data ?? '')).toMatchObject({
      channel: x,
      type: 'gap',
      data: { channel: x, reason: 'unknown' },
    })
    viewer.cut()
    other.cut()
  })

  test.each([
    ['', 400],
    ['?channel=', 422],
    ['?channel=a%20b', 422],
    [`?${Array.from({ length: 51 }, (_, i) => `channel=c${i}`).join('&')}`, 400],
  ])('refuses %s', async (query, status) => {
    const response = await fetch(`${a.url}/v1/events${query}`)
    expect(response.status).toBe(status)
    expect(response.headers.get('content-type')).toMatch('application/problem+json')
  })
})

describe('history as JSON', () => {
  const json = { headers: { Accept: 'application/json' } }

  test('pages through what is retained', async () => {
    const channel = fresh()
    const ids = await publish(a, channel, numbers(1, 7))
    const first = await (await fetch(stream(a, channel, '?limit=4'), json)).json()
    expect(first).toMatchObject({ next: ids[3] })
    const second = (await (await fetch(stream(b, channel, `?limit=4&after=${ids[3]}`), json)).json()) as {
      events: object[]
      next: null
    }
    expect(second.events).toMatchObject([{ id: ids[4], type: 'n', data: 5 }, { id: ids[5] }, { id: ids[6] }])
    expect(second.next).toBeNull()
  })

  test('pages through several channels with one cursor', async () => {
    const channels = [fresh(), fresh()].sort()
    for (const channel of channels) await publish(a, channel, numbers(1, 5))
    const got: string[] = []
    let next: string | null = ''
    for (let page = 0; next !== null && page < 10; page++) {
      const url: string = `${a.url}/v1/events?channel=${channels[0]}&channel=${channels[1]}&limit=3${next && `&after=${next}`}`
      const body = (await (await fetch(url, json)).json()) as {
        events: { channel: string; data: number }[]
        next: string | null
      }
      got.push(...body.events.map(event => `${event.channel} ${event.data}`))
      next = body.next
    }
    expect(got).toEqual(channels.flatMap(channel => range(1, 5).map(n => `${channel} ${n}`)))
  })

  test('comes to its end where the log has begun a new epoch', async () => {
    const channel = fresh()
    const [first = ''] = await publish(a, channel, numbers(1, 5))
    const entries = await redis.xrange(logKey(channel), '-', '+', 'COUNT', 3)
    await redis.del(logKey(channel))
    for (const [id, fields] of entries) await redis.xadd(logKey(channel), id, ...fields)
    await log.assertReached(channel, { epoch: Number(first.split('-')[0]), seq: 5 })
    const pages = async (): Promise<number[][]> => {
      const got: number[][] = []
      for (let next: string | null = ''; next !== null && got.length < 10; ) {
        const url: string = stream(b, channel, `?limit=2${next && `&after=${next}`}`)
        const body = (await (await fetch(url, json)).json()) as {
          events: { data: number }[]
          next: string | null
        }
        got.push(body.events.map(event => event.data))
        next = body.next
      }
      return got
    }
    expect((await pages()).flat()).toEqual([1, 2, 3])
    await publish(a, channel, numbers(6, 7))
    expect(await pages()).toEqual([[1, 2], [3, 6], [7]])
  })

  test('of many channels has bounded pages', async () => {
    const channels = Array.from({ length: 10 }, fresh)
    for (const channel of channels)
      await publish(
        a,
        channel,
        Array.from({ length: 4 }, () => ({ data: 'x'.repeat(60_000) })),
      )
    const query = channels.map(channel => `channel=${channel}`).join('&')
    let events = 0
    for (let next: string | null = ''; next !== null; ) {
      const url: string = `${a.url}/v1/events?limit=1000&${query}${next && `&after=${next}`}`
      const text = await (await fetch(url, json)).text()
      expect(text.length).toBeLessThan(1_200_000)
      const page = JSON.parse(text) as { events: object[]; next: string | null }
      events += page.events.length
      next = page.next
    }
    expect(events).toBe(40)
  })

  test('says what a cursor asks for in vain', async () => {
    const channel = fresh()
    const [first] = await publish(a, channel, numbers(1, 1))
    await publish(a, channel, numbers(2, MAX_EVENTS + 11))
    const body = await (await fetch(stream(a, channel, `?after=${first}&limit=1`), json)).json()
    expect(body).toMatchObject({ gaps: [{ channel, reason: 'trimmed', missed: 10 }], events: [{ data: 12 }] })
  })

  test('of an unknown task is 404, of an unknown channel empty', async () => {
    expect((await fetch(`${a.url}/v1/tasks/nobody/events`, json)).status).toBe(404)
    expect(await (await fetch(stream(a, fresh()), json)).json()).toEqual({ events: [], next: null })
  })
})
