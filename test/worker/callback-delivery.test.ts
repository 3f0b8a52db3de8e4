// Callbacks from the end of a task to a receiver, on a real Redis.

import { createHmac, randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals'
import { Registry } from 'prom-client'
import { Webhook } from 'standardwebhooks'
import { parseHttpTargets } from '../../shared/http-targets.ts'
import { ended, started } from '../../shared/task-transitions.ts'
import { CallbackDelivery } from '../../worker/callback-delivery.ts'
import { createWorkerMetrics } from '../../worker/metrics.ts'
import { Reconciler } from '../../worker/reconciler.ts'
import { RedisSweep } from '../../worker/redis-sweep.ts'
import { until } from '../support/until.ts'
import { type Broker, type Submission, silent, startBroker, startTestWorker } from './worker-fixture.ts'

const SECRET = `whsec_${Buffer.from('a secret of twenty-four b').toString('base64')}`

interface Received {
  readonly headers: IncomingHttpHeaders
  readonly body: string
}

let broker: Broker
let worker: ReturnType<typeof startTestWorker>
let origin: string
/** All requests, in order. */
let received: Received[]
let answer: (response: ServerResponse, request: Received) => unknown
const deliveries: CallbackDelivery[] = []
const server = createServer(async (request, response) => {
  const got = { headers: request.headers, body: await text(request).catch(() => 'broken off') }
  received.push(got)
  answer(response, got)
})

beforeAll(async () => {
  broker = await startBroker()
  await once(server.listen(0, '127.0.0.1'), 'listening')
  origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
})
beforeEach(async () => {
  await broker.redis.flushall()
  received = []
  answer = response => response.writeHead(204).end()
  worker = startTestWorker(broker, [
    { type: 'done', run: () => ({ rows: 3 }) },
    { type: 'broken', run: () => Promise.reject(Object.assign(new Error('no'), { retryable: false })) },
  ])
})
afterEach(async () => {
  await worker.stop()
  await Promise.all(deliveries.splice(0).map(delivery => delivery.stop()))
})
afterAll(async () => {
  server.close().closeAllConnections()
  await broker.close()
})

function deliver(targets = `${origin}/hooks`) {
  const registry = new Registry()
  const metrics = createWorkerMetrics(registry, [])
  const delivery = new CallbackDelivery({
    redis: broker.redis,
    targets: parseHttpTargets(targets),
    secret: SECRET,
    metrics,
    log: silent,
  })
  deliveries.push(delivery)
  delivery.start()
  const count = async (outcome: string) => {
    const { values } = await metrics.callbacks.get()
    return values.find(({ labels }) => labels.outcome === outcome)?.value
  }
  return { delivery, count }
}

const submit = (submission: Submission) => broker.submit({ callbackUrl: `${origin}/hooks/1`, ...submission })
const counts = () => broker.tasks.callbacks.counts()
const settled = () =>
  until('all callbacks to be done with', async () => {
    const { waiting, sending } = await counts()
    return waiting + sending === 0
  })
const arrived = (count: number) => until(`${count} callbacks`, () => received.length >= count)
const contents = () => received.map(({ body }) => JSON.parse(body))

async function round(laterMs = 0): Promise<void> {
  await broker.redis.del('mr:reconciler')
  const { tasks, queue, redis } = broker
  const metrics = createWorkerMetrics(new Registry(), [])
  const parts = { sweep: new RedisSweep(redis), tasks, queue, types: new Set<string>(), metrics }
  await new Reconciler({ ...parts, workerName: 'w', log: silent }).round(Date.now() + laterMs)
}

describe('a callback', () => {
  test('is the terminal event, signed so that a receiver can check it', async () => {
    deliver()
    const id = await submit({ type: 'done' })
    await arrived(1)
    const [{ headers, body } = { headers: {}, body: '' }] = received
    const event = (await broker.events(id)).at(-1)
    expect(JSON.parse(body)).toEqual({
      id: (await broker.tasks.load(id))?.lastEventId,
      type: 'completed',
      time: new Date(event?.time ?? 0).toISOString(),
      data: { taskId: id, attempt: 1, time: expect.any(String), result: { rows: 3 } },
    })
    expect(headers['content-type']).toBe('application/json')
    expect(new Webhook(SECRET).verify(body, headers as Record<string, string>)).toEqual(JSON.parse(body))
    // And once more by hand, as the convention has it.
    const signed = `${headers['webhook-id']}.${headers['webhook-timestamp']}.${body}`
    const key = Buffer.from(SECRET.slice('whsec_'.length), 'base64')
    expect(headers['webhook-signature']).toBe(
      `v1,${createHmac('sha256', key).update(signed).digest('base64')}`,
    )
    expect(Math.abs(Number(headers['webhook-timestamp']) - Date.now() / 1_000)).toBeLessThan(60)
  })

  test('comes of a task that failed', async () => {
    deliver()
    await submit({ type: 'broken' })
    await arrived(1)
    expect(contents()).toMatchObject([{ type: 'failed', data: { error: { message: 'no' } } }])
  })

  test('comes of a task that was cancelled before it began', async () => {
    deliver()
    const id = await submit({ type: 'done', delayMs: 60_000 })
    await broker.queue.cancel(id, 'enough')
    await arrived(1)
    expect(contents()).toMatchObject([{ type: 'cancelled', data: { taskId: id, reason: 'enough' } }])
  })

  test('comes of a task that was not started in time', async () => {
    deliver()
    const id = await submit({ type: 'done', delayMs: 600_000, expiresInMs: 60_000 })
    await round(120_000)
    await arrived(1)
    expect(contents()).toMatchObject([{ type: 'expired', data: { taskId: id } }])
  })

  test('comes of no task that asks for none', async () => {
    deliver()
    const id = await broker.submit({ type: 'done' })
    await broker.ended(id)
    await settled()
    expect(await broker.redis.keys('{mr}:callbacks:*_*')).toEqual([])
  })

  test('does not hold up its task, nor others', async () => {
    deliver()
    answer = () => undefined
    const id = await submit({ type: 'done' })
    await arrived(1)
    expect(await broker.ended(id)).toMatchObject({ state: 'completed' })
    expect(await broker.ended(await submit({ type: 'done' }))).toMatchObject({ state: 'completed' })
  })
})

describe('after its worker or gateway died between the end of a task and its callback,', () => {
  /** Ends a task as whoever is killed right after. */
  async function endedAlone(submission: Partial<Submission> = {}): Promise<string> {
    const id = await submit({ type: `nobody-${randomUUID()}`, ...submission })
    const task = (await broker.tasks.load(id))!
    await broker.tasks.apply(id, started(task, { worker: 'w', token: 't', now: Date.now() }))
    const outcome = { state: 'completed', result: 1 } as const
    expect(await broker.tasks.apply(id, ended(task, outcome, { now: Date.now() }))).toMatchObject({
      outcome: 'ok',
    })
    return id
  }

  test('the callback comes all the same, once', async () => {
    const { count } = deliver()
    const id = await endedAlone()
    expect(await counts()).toMatchObject({ waiting: 0, sending: 0 })
    await round()
    await until('the delivery', async () => (await count('delivered')) === 1)
    expect(contents()).toMatchObject([{ type: 'completed', data: { taskId: id } }])
    expect(await broker.redis.zcard('mr:open')).toBe(0)
  })

  test('the task stays until then, however short it is to be retained', async () => {
    const id = await endedAlone({ retainMs: 1_000 })
    const keys = [`mr:{task:${id}}:state`, `mr:{task:${id}}:log`]
    const expiries = () => Promise.all(keys.map(key => broker.redis.pttl(key)))
    expect(await expiries()).toEqual([-1, -1])
    await round()
    for (const ms of await expiries()) expect(ms).toBeLessThanOrEqual(1_000)
    for (const ms of await expiries()) expect(ms).not.toBe(-1)
    await until('the task to be forgotten', async () => (await broker.tasks.load(id)) === null)
    deliver()
    await arrived(1)
  })

  test('what was queued is not queued again, delivered or not', async () => {
    const id = await endedAlone()
    const task = (await broker.tasks.load(id))!
    await broker.tasks.close([task])
    await broker.tasks.close([task])
    expect(await counts()).toMatchObject({ waiting: 1 })
    const { count } = deliver()
    await until('the delivery', async () => (await count('delivered')) === 1)
    await settled()
    await broker.redis.zadd('mr:open', '0', `${task.createdAt}:${id}`)
    await round()
    expect(await broker.redis.zcard('mr:open')).toBe(0)
    await settled()
    expect(received).toHaveLength(1)
    // What stays of it is small.
    const data = await broker.redis.hget(`{mr}:callbacks:${id}_${task.lastEventId}`, 'data')
    expect(JSON.parse(data ?? '')).toMatchObject({ body: '' })
  })
})

describe('a delivery that fails', () => {
  test('is tried again as the same message until it is taken', async () => {
    const { count } = deliver()
    answer = response => response.writeHead(received.length < 3 ? 500 : 200).end('ok')
    await submit({ type: 'done' })
    await until('the delivery', async () => (await count('delivered')) === 1)
    expect(received).toHaveLength(3)
    expect(new Set(received.map(({ headers }) => headers['webhook-id'])).size).toBe(1)
    expect(new Set(received.map(({ body }) => body)).size).toBe(1)
    expect(await count('failed')).toBe(2)
  })

  test.each([
    ['404', (response: ServerResponse) => response.writeHead(404).end()],
    ['a redirect', (response: ServerResponse) => response.writeHead(302, { location: '/hooks/2' }).end()],
    ['a broken connection', (response: ServerResponse) => response.destroy()],
  ])('with %s waits for its next attempt', async (_, misbehave) => {
    const { count } = deliver()
    answer = misbehave
    await submit({ type: 'done' })
    await until('the failure', async () => (await count('failed')) === 1)
    expect(await counts()).toMatchObject({ waiting: 1, dead: 0 })
  })

  test('since the target is not allowed here does not reach it', async () => {
    const { count } = deliver('http://127.0.0.1:1')
    await submit({ type: 'done' })
    await until('the failure', async () => (await count('failed')) === 1)
    expect(received).toEqual([])
  })

  test('with 410 is a dead letter at once', async () => {
    const { count } = deliver()
    answer = response => response.writeHead(410).end()
    await submit({ type: 'done' })
    await until('the dead letter', async () => (await count('dead')) === 1)
    expect(await counts()).toEqual({ waiting: 0, sending: 0, dead: 1 })
    expect(received).toHaveLength(1)
  })

  test('since its worker stops is left to another one', async () => {
    const { delivery } = deliver()
    answer = () => undefined
    await submit({ type: 'done' })
    await arrived(1)
    await delivery.stop()
    expect(await counts()).toMatchObject({ waiting: 1, sending: 0 })
    answer = response => response.end()
    const { count } = deliver()
    await until('the delivery', async () => (await count('delivered')) === 1)
    expect(received[0]?.headers['webhook-id']).toBe(received[1]?.headers['webhook-id'])
  })
})
