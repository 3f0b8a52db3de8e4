import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals'
import { Redis } from 'ioredis'
import { announceTaskTypes } from '../../../shared/task-types.ts'
import { call, expectProblem } from '../../support/http.ts'
import { startGateway, type TestGateway } from '../../support/processes.ts'
import { startRedis, type TestRedis } from '../../support/redis.ts'

const HOUR_MS = 3_600_000

let server: TestRedis
let redis: Redis
let gateway: TestGateway

beforeAll(async () => {
  server = await startRedis()
  redis = new Redis(server.url)
  gateway = await startGateway({ redisUrl: server.url })
})

afterAll(async () => {
  redis.disconnect()
  await server.close()
})

beforeEach(async () => {
  await redis.flushall()
  const properties = { width: { type: 'integer', minimum: 1 } }
  await announceTaskTypes(redis, [
    { type: 'plain', inputSchema: null, attempts: 2, timeoutMs: 1_000 },
    { type: 'resize', inputSchema: { type: 'object', properties }, attempts: 1, timeoutMs: 1_000 },
  ])
})

const url = (id: string) => `${gateway.url}/v1/schedules/${id}`
const put = (id: string, body: unknown) => call(url(id), { method: 'PUT', body })
const read = (id: string) => call(url(id))
const remove = (id: string) => call(url(id), { method: 'DELETE' })
/** Of the jobs that wait for their time: the schedule and when it is due. */
const waitingRuns = async () => (await redis.zrange('{mr}:schedules:delayed', '0', '-1')).toSorted()

const hourly = { everyMs: HOUR_MS, task: { type: 'plain' } }

describe('a schedule that is put', () => {
  test('is answered as it can be read, with the defaults of its task', async () => {
    const before = Date.now()
    const answer = await put('nightly', {
      cron: '30 2 * * *',
      timeZone: 'Europe/Berlin',
      task: { type: 'plain' },
    })
    expect(answer.status).toBe(201)
    expect(answer.headers.get('location')).toBe('/v1/schedules/nightly')
    const { createdAt, nextRunAt } = answer.body
    expect(answer.body).toEqual({
      id: 'nightly',
      cron: '30 2 * * *',
      timeZone: 'Europe/Berlin',
      task: { type: 'plain', input: {}, priority: 0, attempts: 2, timeoutMs: 1_000, retainMs: 24 * HOUR_MS },
      createdAt,
      updatedAt: createdAt,
      nextRunAt,
      lastTaskId: null,
      links: { self: '/v1/schedules/nightly' },
    })
    expect(Date.parse(createdAt)).toBeGreaterThanOrEqual(before)
    const clock = new Intl.DateTimeFormat('en-GB', { timeStyle: 'short', timeZone: 'Europe/Berlin' })
    expect(clock.format(new Date(nextRunAt))).toBe('02:30')
    expect((await read('nightly')).body).toEqual(answer.body)
    expect(await waitingRuns()).toEqual([`repeat:nightly:${Date.parse(nextRunAt)}`])
  })

  test('is in UTC unless it says otherwise, and may count seconds or have a name', async () => {
    const noon = await put('noon', { cron: '0 12 * * *', task: { type: 'plain' } })
    expect(noon.body).toMatchObject({ timeZone: 'UTC', nextRunAt: expect.stringMatching(/T12:00:00\.000Z$/) })
    const half = await put('half', { cron: '30 * * * * *', task: { type: 'plain' } })
    expect(half.body.nextRunAt).toMatch(/:30\.000Z$/)
    const daily = await put('daily', { cron: '@daily', task: { type: 'plain' } })
    expect(daily.body.nextRunAt).toMatch(/T00:00:00\.000Z$/)
  })

  test('every so often runs first after that time', async () => {
    const { status, body } = await put('often', hourly)
    expect(status).toBe(201)
    expect(body).toMatchObject({ everyMs: HOUR_MS })
    expect(Date.parse(body.nextRunAt)).toBe(Date.parse(body.createdAt) + HOUR_MS)
    expect(await waitingRuns()).toEqual([`repeat:often:${Date.parse(body.nextRunAt)}`])
  })

  test('takes every field of a submission but the id and the delay', async () => {
    const task = {
      type: 'resize',
      input: { width: 3, empty: [], none: null },
      priority: 7,
      attempts: 4,
      backoff: { type: 'exponential', delayMs: 100, jitter: 0.5 },
      timeoutMs: 5_000,
      expiresInMs: 60_000,
      retainMs: 2_000,
      concurrencyKey: 'acme',
      concurrencyLimit: 3,
      channels: ['user:42'],
    }
    expect((await put('full', { ...hourly, task })).body.task).toEqual(task)
    expect((await read('full')).body.task).toEqual(task)
  })
})

describe('a schedule that is put again', () => {
  test('as it was keeps its rhythm', async () => {
    const first = await put('often', hourly)
    const again = await put('often', hourly)
    expect(again.status).toBe(200)
    const { updatedAt: _, ...same } = first.body
    expect(again.body).toMatchObject(same)
    expect(await waitingRuns()).toHaveLength(1)
  })

  test('by many at once has one next run', async () => {
    await Promise.all(Array.from({ length: 20 }, () => put('often', hourly)))
    await Promise.all(
      Array.from({ length: 20 }, () => put('nightly', { cron: '0 1 * * *', task: { type: 'plain' } })),
    )
    expect(await waitingRuns()).toHaveLength(2)
  })

  test('with another timing or task is replaced', async () => {
    const { createdAt } = (await put('often', hourly)).body
    const quicker = await put('often', { everyMs: 60_000, task: { type: 'plain', priority: 5 } })
    expect(quicker.status).toBe(200)
    expect(quicker.body).toMatchObject({ everyMs: 60_000, createdAt, task: { priority: 5 } })
    const untilNext = Date.parse(quicker.body.nextRunAt) - Date.parse(quicker.body.updatedAt)
    expect(untilNext).toBe(60_000)
    const cron = await put('often', { cron: '0 1 * * *', task: { type: 'plain' } })
    expect(cron.body).not.toHaveProperty('everyMs')
    expect((await read('often')).body).toEqual(cron.body)
    expect(await waitingRuns()).toEqual([`repeat:often:${Date.parse(cron.body.nextRunAt)}`])
    expect((await put('often', hourly)).body).not.toHaveProperty('cron')
    expect(await waitingRuns()).toHaveLength(1)
  })
})

describe('a schedule that is removed', () => {
  test('is gone with its next run', async () => {
    await put('often', hourly)
    const answer = await remove('often')
    expect([answer.status, answer.text]).toEqual([204, ''])
    expectProblem(await read('often'), 404, 'schedule-not-found')
    expectProblem(await remove('often'), 404, 'schedule-not-found')
    expect(await waitingRuns()).toEqual([])
    expect((await call(`${gateway.url}/v1/schedules`)).body).toEqual({ schedules: [], next: null })
    expect(await redis.keys('*often*')).toEqual([])
  })

  test('may be put again', async () => {
    await put('often', hourly)
    await remove('often')
    expect((await put('often', hourly)).status).toBe(201)
    expect(await waitingRuns()).toHaveLength(1)
  })
})

describe('the list of schedules', () => {
  test('comes page by page, by id', async () => {
    const ids = Array.from({ length: 25 }, (_, i) => `s${String(i).padStart(2, '0')}`)
    await Promise.all(ids.map(id => put(id, hourly)))
    const seen: string[] = []
    let next: string | null = null
    do {
      const page = await call(`${gateway.url}/v1/schedules?limit=12${next ? `&cursor=${next}` : ''}`)
      expect(page.status).toBe(200)
      expect(page.body.schedules.length).toBeLessThanOrEqual(12)
      seen.push(...page.body.schedules.map(({ id }: { id: string }) => id))
      next = page.body.next
    } while (next)
    expect(seen).toEqual(ids)
  })

  test('shows schedules as they are read one by one', async () => {
    await put('often', hourly)
    const { body } = await call(`${gateway.url}/v1/schedules`)
    expect(body).toEqual({ schedules: [(await read('often')).body], next: null })
  })

  test('ends a page early when the tasks are large', async () => {
    const task = { type: 'plain', input: 'x'.repeat(1_000_000) }
    for (let i = 10; i < 25; i++) await put(`s${i}`, { ...hourly, task })
    const { body } = await call(`${gateway.url}/v1/schedules?limit=100`)
    expect(body.schedules).toHaveLength(10)
    expect(body.next).toBe('s19')
  })

  test.each(['limit=0', 'limit=101', 'limit=x', 'cursor=a.b', 'cursor=a&cursor=b'])(
    'refuses ?%s',
    async query => {
      expectProblem(await call(`${gateway.url}/v1/schedules?${query}`), 400, 'invalid-query')
    },
  )
})

describe('what is refused', () => {
  test.each([
    ['no timing', { task: { type: 'plain' } }, ['cron']],
    ['two timings', { ...hourly, cron: '* * * * *' }, ['everyMs']],
    ['a time zone without cron', { ...hourly, timeZone: 'UTC' }, ['timeZone']],
    ['what is no cron', { cron: 'now and then', task: { type: 'plain' } }, ['cron']],
    ['too few fields', { cron: '0 1 *', task: { type: 'plain' } }, ['cron']],
    ['too many fields', { cron: '0 0 0 1 * * *', task: { type: 'plain' } }, ['cron']],
    ['a value out of range', { cron: '60 * * * *', task: { type: 'plain' } }, ['cron']],
    ['an unknown name', { cron: '@never', task: { type: 'plain' } }, ['cron']],
    ['a random value', { cron: 'H * * * *', task: { type: 'plain' } }, ['cron']],
    ['a date that never comes', { cron: '0 0 30 2 *', task: { type: 'plain' } }, ['cron']],
    ['an empty cron', { cron: '', task: { type: 'plain' } }, ['cron']],
    ['an unknown zone', { cron: '* * * * *', timeZone: 'Mars/Base', task: { type: 'plain' } }, ['timeZone']],
    [
      'a zone of the machine',
      { cron: '* * * * *', timeZone: 'local', task: { type: 'plain' } },
      ['timeZone'],
    ],
    ['a short interval', { ...hourly, everyMs: 999 }, ['everyMs']],
    ['a long interval', { ...hourly, everyMs: 365 * 24 * HOUR_MS + 1 }, ['everyMs']],
    ['a fraction', { ...hourly, everyMs: 1_000.5 }, ['everyMs']],
    ['no task', { everyMs: HOUR_MS }, ['task']],
    ['an id for the task', { ...hourly, task: { type: 'plain', id: 'x' } }, ['task.id']],
    ['a delay for the task', { ...hourly, task: { type: 'plain', delayMs: 5 } }, ['task.delayMs']],
    [
      'wrong fields of the task',
      { ...hourly, task: { type: 'plain', attempts: 0, x: 1 } },
      ['task.attempts', 'task.x'],
    ],
    [
      'a limit without a key',
      { ...hourly, task: { type: 'plain', concurrencyLimit: 3 } },
      ['task.concurrencyLimit'],
    ],
    ['an unknown field', { ...hourly, every: 5 }, ['every']],
  ])('%s', async (_, body, paths) => {
    expectProblem(await put('refused', body), 422, 'invalid-body', paths)
    expectProblem(await read('refused'), 404, 'schedule-not-found')
    expect(await redis.keys('*schedules*')).toEqual([])
  })

  test('a type that no worker has, and input that does not suit it', async () => {
    const unknown = await put('refused', { ...hourly, task: { type: 'nobody' } })
    expectProblem(unknown, 422, 'unknown-task-type', ['task.type'])
    const misfit = await put('refused', { ...hourly, task: { type: 'resize', input: { width: 0 } } })
    expectProblem(misfit, 422, 'invalid-input', ['task.input.width'])
    expect(await redis.keys('*schedules*')).toEqual([])
  })

  test('an id that is none', async () => {
    for (const id of ['a.b', 'a:b', 'x'.repeat(51)]) {
      expectProblem(await put(id, hourly), 422, 'invalid-body', ['id'])
      expectProblem(await read(id), 404, 'schedule-not-found')
      expectProblem(await remove(id), 404, 'schedule-not-found')
    }
  })
})
