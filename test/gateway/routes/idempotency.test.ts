import { createHash, randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { type IncomingMessage, request } from 'node:http'
import { json } from 'node:stream/consumers'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { Redis } from 'ioredis'
import { onlyOnce } from '../../../gateway/idempotency.ts'
import { MillraceError } from '../../../shared/errors.ts'
import { formatPosition } from '../../../shared/event-id.ts'
import { INDEX_KEY, OPEN_KEY, taskKey } from '../../../shared/keys.ts'
import { IdempotencyRecords, type KeyedRequest, onceOf } from '../../../shared/redis-idempotency.ts'
import { NewTasks } from '../../../shared/redis-new-tasks.ts'
import type { TaskRequest } from '../../../shared/task.ts'
import { submitted } from '../../../shared/task-transitions.ts'
import { announceTaskTypes } from '../../../shared/task-types.ts'
import { type Answer, call, expectProblem } from '../../support/http.ts'
import { startGateway, type TestGateway } from '../../support/processes.ts'
import { startRedis, type TestRedis } from '../../support/redis.ts'
import { until } from '../../support/until.ts'

let server: TestRedis
let redis: Redis
let gateway: TestGateway
let other: TestGateway

beforeAll(async () => {
  server = await startRedis()
  redis = new Redis(server.url)
  await announce()
  gateway = await startGateway({ redisUrl: server.url })
  other = await startGateway({ redisUrl: server.url })
})

afterAll(async () => {
  redis.disconnect()
  await server.close()
})

const announce = () =>
  announceTaskTypes(redis, [
    { type: 'a', inputSchema: { type: 'object' }, attempts: 1, timeoutMs: 60_000 },
    { type: 'b', inputSchema: null, attempts: 1, timeoutMs: 60_000 },
  ])

const submit = (key: string | undefined, body: unknown, { url } = gateway) =>
  call(`${url}/v1/tasks`, { body, headers: key === undefined ? {} : { 'Idempotency-Key': key } })

const publish = (key: string, channel: string, body: unknown, { url } = gateway) =>
  call(`${url}/v1/channels/${channel}/events`, { body, headers: { 'Idempotency-Key': key } })

const isReplayed = (answer: Answer) => answer.headers.get('idempotency-replayed') === 'true'

/** Ids of all tasks that are listed with a marker in their input. */
async function tasksWith(marker: string): Promise<string[]> {
  const ids = (await redis.zrange(INDEX_KEY, '0', '-1')).map(member => member.slice(14))
  const inputs = await Promise.all(ids.map(id => redis.hget(taskKey(id), 'input')))
  return ids.filter((_, i) => inputs[i]?.includes(marker))
}

const jobOf = (id: string) => redis.exists(`{mr}:tasks:task.${id}`)

/** As a client does that is told to wait. */
async function untilAnswered(ask: () => Promise<Answer>): Promise<Answer> {
  return until('the first request is no longer in progress', async () => {
    const answer = await ask()
    return answer.status !== 409 && answer
  })
}

describe('a submission with an idempotency key', () => {
  test('that comes again gets the first answer again, on any gateway', async () => {
    const body = { type: 'a', input: { marker: randomUUID() }, attempts: 3 }
    const key = randomUUID()
    const first = await submit(key, body)
    expect(first.status).toBe(202)
    expect(isReplayed(first)).toBe(false)
    await redis.hset(taskKey(first.body.id), { state: 'running', attempt: 2 })
    for (const at of [gateway, other]) {
      const again = await submit(key, body, at)
      expect(again.status).toBe(202)
      expect(isReplayed(again)).toBe(true)
      expect(again.body).toEqual(first.body)
      expect(again.headers.get('location')).toBe(first.headers.get('location'))
    }
    expect(await tasksWith(body.input.marker)).toEqual([first.body.id])
    const { text } = await call(`${other.opsUrl}/metrics`)
    expect(text).not.toMatch(/millrace_tasks_submitted_total\{type="a"\}/)
  })

  test('gets it also when its type is no longer known and its task is gone', async () => {
    const key = randomUUID()
    const first = await submit(key, { type: 'b' })
    await redis.del(taskKey(first.body.id))
    await redis.del('mr:types')
    const fresh = await startGateway({ redisUrl: server.url })
    try {
      expect((await submit(key, { type: 'b' }, fresh)).body).toEqual(first.body)
    } finally {
      await announce()
      await fresh.stop()
    }
  })

  test('is kept for 24 hours', async () => {
    const key = randomUUID()
    await submit(key, { type: 'a' })
    const digest = createHash('sha256')
      .update(JSON.stringify(['anonymous', key]))
      .digest('base64url')
    const ttlMs = await redis.pttl(`mr:idem:{${digest}}`)
    expect(ttlMs).toBeGreaterThan(86_400_000 - 60_000)
    expect(ttlMs).toBeLessThanOrEqual(86_400_000)
  })

  test('becomes exactly one task when 20 come at once', async () => {
    const body = { type: 'a', input: { marker: randomUUID() } }
    const key = randomUUID()
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, i) => submit(key, body, i % 2 ? gateway : other)),
    )
    const accepted = answers.filter(({ status }) => status === 202)
    expect(new Set(accepted.map(({ body }) => body.id)).size).toBe(1)
    expect(accepted.filter(answer => !isReplayed(answer))).toHaveLength(1)
    for (const answer of answers.filter(({ status }) => status !== 202)) {
      expectProblem(answer, 409, 'idempotency-in-progress')
      expect(answer.headers.get('retry-after')).toBe('1')
    }
    expect(await tasksWith(body.input.marker)).toHaveLength(1)
    const open = await redis.zrange(OPEN_KEY, '0', '-1')
    expect(open.filter(member => member.endsWith(accepted[0]?.body.id))).toHaveLength(1)
  })

  test('is refused when the key was used for something else', async () => {
    const key = randomUUID()
    await submit(key, { type: 'a', input: { n: 1 } })
    const refused = await submit(key, { type: 'a', input: { n: 2 } }, other)
    expectProblem(refused, 422, 'idempotency-key-reused', ['Idempotency-Key'])
  })

  test('leaves its key free when it is refused', async () => {
    const key = randomUUID()
    expectProblem(await submit(key, { type: 'a', more: 1 }), 422, 'invalid-body')
    expectProblem(await submit(key, { type: 'a', input: 7 }), 422, 'invalid-input')
    expectProblem(await submit(key, { type: 'none' }), 422, 'unknown-task-type')
    const id = randomUUID()
    await submit(undefined, { type: 'a', id })
    expectProblem(await submit(key, { type: 'a', id }), 409, 'task-exists')
    expect((await submit(key, { type: 'a' })).status).toBe(202)
  })

  test('with an id of its own gets its answer again, and not that the id is taken', async () => {
    const body = { type: 'a', id: randomUUID() }
    const first = await submit('own-id', body)
    const again = await submit('own-id', body)
    expect([again.status, again.body, isReplayed(again)]).toEqual([202, first.body, true])
    expectProblem(await submit('other-key', body), 409, 'task-exists')
  })

  test('knows its key quoted and bare', async () => {
    const bare = await submit('same "key" \\ here', { type: 'a' })
    expect(bare.status).toBe(202)
    const quoted = await submit('"same \\"key\\" \\\\ here"', { type: 'a' })
    expect(quoted.body).toEqual(bare.body)
    expect((await submit('k'.repeat(255), { type: 'a' })).status).toBe(202)
    expect((await submit(`"${'\\"'.repeat(255)}"`, { type: 'a' })).status).toBe(202)
  })

  test.each([
    '',
    '""',
    '"open',
    '"a"b"',
    '"a\\b"',
    'é',
    'tab\there',
    'k'.repeat(256),
    `"${'k'.repeat(256)}"`,
  ])('is refused with a key that is none: %#', async key => {
    const answer = await submit(key, { type: 'a' })
    expectProblem(answer, 400, 'invalid-header', ['Idempotency-Key'])
  })

  test('is refused with two keys', async () => {
    // In two lines, which fetch would make one of.
    const headers = { 'Idempotency-Key': ['one', 'two'] }
    const sent = request(`${gateway.url}/v1/tasks`, { method: 'POST', headers }).end('{"type":"a"}')
    const [answer] = (await once(sent, 'response')) as [IncomingMessage]
    expect(answer.statusCode).toBe(400)
    expect(await json(answer)).toMatchObject({ code: 'invalid-header' })
  })

  test('leaves nothing behind when Redis is out of memory', async () => {
    const key = randomUUID()
    await redis.config('SET', 'maxmemory', '1mb')
    try {
      expectProblem(await submit(key, { type: 'a' }), 503, 'redis-unavailable')
    } finally {
      await redis.config('SET', 'maxmemory', '0')
    }
    expect((await submit(key, { type: 'a' })).status).toBe(202)
  })
})

describe('a gateway that dies in the middle of a submission', () => {
  let records: IdempotencyRecords
  let newTasks: NewTasks
  beforeAll(() => {
    records = new IdempotencyRecords(redis)
    newTasks = new NewTasks(redis)
  })

  // With a priority, what it is queued by is a step of its own.
  const body = (marker: string) => ({ type: 'a', input: { marker }, priority: 1 })

  /** What a gateway has done of a submission before it died. */
  async function dieAfter(step: 'claim' | 'record', key: string, marker: string) {
    const memo = { id: randomUUID(), createdAt: Date.now() - 120_000 }
    const keyed: KeyedRequest = {
      key: JSON.stringify(['anonymous', key]),
      fingerprint: createHash('sha256')
        .update(JSON.stringify(['/v1/tasks', body(marker)]))
        .digest('base64url'),
    }
    expect(await records.claim(keyed, memo)).toMatchObject({ state: 'mine' })
    if (step === 'claim') return memo
    const request: TaskRequest = {
      ...{ id: memo.id, type: 'a', input: { marker }, delayMs: 0, priority: 1, attempts: 1, backoff: null },
      ...{ timeoutMs: 60_000, expiresInMs: null, retainMs: 60_000 },
    }
    await newTasks.begin([submitted(request, memo.createdAt, onceOf(keyed))])
    return memo
  }

  test.each(['claim', 'record'] as const)(
    'blocks its key no longer than a request takes, and nothing is lost or doubled: after its %s',
    async step => {
      const [key, marker] = [randomUUID(), randomUUID()]
      const { id } = await dieAfter(step, key, marker)
      expectProblem(await submit(key, body(marker)), 409, 'idempotency-in-progress')
      expectProblem(await submit(key, body('other')), 422, 'idempotency-key-reused')
      const answer = await untilAnswered(() => submit(key, body(marker)))
      expect(answer).toMatchObject({ status: 202, body: { id, state: 'queued' } })
      expect(isReplayed(answer)).toBe(false)
      expect((await call(`${gateway.url}/v1/tasks/${id}`)).body).toEqual(answer.body)
      expect(await tasksWith(marker)).toEqual([id])
      expect(await jobOf(id)).toBe(1)
      expect(isReplayed(await submit(key, body(marker)))).toBe(true)
    },
  )

  test('does not let a task run again that has run and is forgotten', async () => {
    const [key, marker] = [randomUUID(), randomUUID()]
    const { id } = await dieAfter('record', key, marker)
    await redis.del(taskKey(id), `mr:{task:${id}}:log`)
    const answer = await untilAnswered(() => submit(key, body(marker)))
    expect(answer).toMatchObject({ status: 202, body: { id } })
    expect(await redis.exists(taskKey(id))).toBe(0)
    expect(await jobOf(id)).toBe(0)
  })

  test('by SIGKILL, with many under way, leaves a task for each when they are repeated elsewhere', async () => {
    const victim = await startGateway({ redisUrl: server.url })
    const bodies = Array.from({ length: 200 }, (_, i) => ({ type: 'b', input: `victim-${i}-of-200` }))
    const first = bodies.map((body, i) => submit(`victim-${i}`, body, victim).catch(() => null))
    await Promise.race(first)
    await victim.kill()
    const before = await Promise.all(first)
    const after = await Promise.all(
      bodies.map((body, i) => untilAnswered(() => submit(`victim-${i}`, body, other))),
    )
    for (const [i, answer] of after.entries()) {
      expect(answer.status).toBe(202)
      if (before[i]) expect(answer.body).toEqual(before[i].body)
      expect(await jobOf(answer.body.id)).toBe(1)
    }
    expect(await tasksWith('victim-')).toHaveLength(200)
  })
})

describe('a publish with an idempotency key', () => {
  const history = async (channel: string) =>
    (await call(`${gateway.url}/v1/channels/${channel}/events`, { headers: { Accept: 'application/json' } }))
      .body.events

  test('that comes again is answered again and appended once', async () => {
    const channel = randomUUID()
    const events = [{ data: 1 }, { type: 'note', data: { a: 'b' } }]
    const first = await publish('p', channel, events)
    await publish('q', channel, { data: 3 })
    const again = await publish('p', channel, events, other)
    expect([again.status, again.body, isReplayed(again)]).toEqual([201, first.body, true])
    expect(await history(channel)).toHaveLength(3)
    expectProblem(await publish('p', channel, { data: 2 }), 422, 'idempotency-key-reused', [
      'Idempotency-Key',
    ])
    expectProblem(await publish('', channel, { data: 2 }), 400, 'invalid-header', ['Idempotency-Key'])
  })

  test('is appended once when 20 come at once', async () => {
    const channel = randomUUID()
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, i) => publish('p', channel, { data: 1 }, i % 2 ? gateway : other)),
    )
    expect(new Set(answers.map(({ status, text }) => `${status} ${text}`)).size).toBe(1)
    expect(answers.filter(answer => !isReplayed(answer))).toHaveLength(1)
    expect(await history(channel)).toHaveLength(1)
  })

  test('tells its text and the type of its events from others', async () => {
    const channel = randomUUID()
    const send = (type: string, body: string) =>
      call(`${gateway.url}/v1/channels/${channel}/events?type=${type}`, {
        body,
        headers: { 'Content-Type': 'text/plain', 'Idempotency-Key': 'k' },
      })
    expect((await send('a', 'text')).status).toBe(201)
    expect(isReplayed(await send('a', 'text'))).toBe(true)
    expect((await send('b', 'text')).status).toBe(422)
    expect((await send('a', 'other')).status).toBe(422)
  })

  test('is remembered for 24 hours', async () => {
    const channel = randomUUID()
    await publish('p', channel, { data: 1 })
    const digest = createHash('sha256').update('["anonymous","p"]').digest('base64url')
    const ttlMs = await redis.pttl(`mr:{${channel}}:once:${digest}`)
    expect(ttlMs).toBeGreaterThan(86_400_000 - 60_000)
  })
})

test('work that breaks off for another reason than a refusal keeps its key for its repetition', async () => {
  const records = new IdempotencyRecords(redis)
  const request = { key: randomUUID(), fingerprint: 'f' }
  const memos: unknown[] = []
  const broken = onlyOnce(records, request, { n: 1 }, async memo => {
    memos.push(memo)
    throw new Error('Connection is closed.')
  })
  await expect(broken).rejects.toThrow('Connection is closed.')
  const again = await until('the lease is over', () =>
    onlyOnce(records, request, { n: 2 }, async memo => {
      memos.push(memo)
      return formatPosition({ epoch: 1, seq: 1 })
    }).catch(() => null),
  )
  expect(again).toEqual({ answer: '1-1', replayed: false })
  expect(memos).toEqual([{ n: 1 }, { n: 1 }])
})

test('work that is refused when it is taken up keeps its key: it may have been done before', async () => {
  const records = new IdempotencyRecords(redis)
  const request = { key: randomUUID(), fingerprint: 'f' }
  await records.claim(request, { n: 1 })
  await until('it is taken up', async () => {
    const refused = await onlyOnce(records, request, { n: 2 }, async () => {
      throw new MillraceError('unknown-task-type', 'no worker runs this type')
    }).catch((error: MillraceError) => error.code)
    return refused === 'unknown-task-type'
  })
  expect(await onlyOnce(records, request, { n: 3 }, async memo => memo)).toEqual({
    answer: { n: 1 },
    replayed: false,
  })
})

test('work that is refused when its lease is over leaves the key to who has taken it up', async () => {
  const records = new IdempotencyRecords(redis)
  const request = { key: randomUUID(), fingerprint: 'f' }
  const claim = () => records.claim<number, string>(request, 1)
  const late = await claim()
  const taken = await until('it is taken up', async () => {
    const claimed = await claim()
    return claimed.state === 'mine' && claimed
  })
  if (late.state === 'mine') await records.release(request, late)
  expect((await claim()).state).toBe('in-progress')
  await records.settle(request, taken.memo, 'done')
  expect(await claim()).toEqual({ state: 'answered', memo: 1, answer: 'done' })
})
