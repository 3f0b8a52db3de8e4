// Callbacks over HTTP from end to end, with real processes, one of which dies while it delivers.

import { once } from 'node:events'
import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { Webhook } from 'standardwebhooks'
import { call } from '../support/http.ts'
import { startGateway, startWorker, type TestGateway } from '../support/processes.ts'
import { startRedis, type TestRedis } from '../support/redis.ts'
import { until } from '../support/until.ts'

const SECRET = `whsec_${Buffer.alloc(32, 1).toString('base64')}`

let redis: TestRedis
let gateway: TestGateway
let env: Record<string, string>
let callbackUrl: string
const received: { headers: Record<string, string>; body: string }[] = []
let answer = (response: ServerResponse): unknown => response.end()
const server = createServer(async (request, response) => {
  received.push({ headers: request.headers as Record<string, string>, body: await text(request) })
  answer(response)
})

beforeAll(async () => {
  redis = await startRedis()
  await once(server.listen(0, '127.0.0.1'), 'listening')
  callbackUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}/hooks`
  env = { MILLRACE_HTTP_TARGETS: callbackUrl, MILLRACE_WEBHOOK_SECRET: SECRET }
  gateway = await startGateway({ redisUrl: redis.url, env })
})
afterAll(async () => {
  server.close().closeAllConnections()
  await redis.close()
})

test('a callback whose worker is killed while it sends is sent again as the same message', async () => {
  const first = await startWorker({ redisUrl: redis.url, env })
  answer = () => undefined
  const body = { type: 'countdown', input: { steps: 1, intervalMs: 0 }, callbackUrl }
  const { body: task } = await call(`${gateway.url}/v1/tasks`, { body })
  await until('the first attempt', () => received.length === 1)
  await first.kill()
  answer = response => response.end()
  const second = await startWorker({ redisUrl: redis.url, env })
  await until('the second attempt', () => received.length === 2)
  const [before, after] = received
  expect(after?.headers['webhook-id']).toBe(before?.headers['webhook-id'])
  expect(new Webhook(SECRET).verify(after?.body ?? '', after?.headers ?? {})).toMatchObject({
    type: 'completed',
    data: { taskId: task.id, result: { steps: 1 } },
  })
  await until('the metrics', async () => {
    const { text } = await call(`${second.opsUrl}/metrics`)
    return /^millrace_callbacks_total\{outcome="delivered"\} 1$/m.test(text)
  })
  expect((await call(`${second.opsUrl}/metrics`)).text).toContain('millrace_callback_queue{state="dead"} 0')
  expect(await second.stop()).toBe(0)
})

test('one that is given up is said in the log', async () => {
  const worker = await startWorker({ redisUrl: redis.url, env })
  answer = response => response.writeHead(410).end()
  const body = { type: 'countdown', input: { steps: 1, intervalMs: 0 }, callbackUrl }
  const { body: task } = await call(`${gateway.url}/v1/tasks`, { body })
  const line = await until('the log line', () =>
    worker
      .output()
      .split('\n')
      .find(line => line.includes('a callback is given up')),
  )
  expect(JSON.parse(line)).toMatchObject({ level: 50, task: task.id, reason: `${callbackUrl} answered 410` })
  expect(await worker.stop()).toBe(0)
})

test('every task has its callback, though its worker or the gateway that cancels it is killed', async () => {
  received.length = 0
  answer = response => response.end()
  const doomed = [
    await startGateway({ redisUrl: redis.url, env }),
    await startWorker({ redisUrl: redis.url, env }),
  ]
  const [{ url }] = doomed as [TestGateway]
  const submitAll = async (count: number, delayMs: number): Promise<string[]> => {
    const task = { type: 'countdown', input: { steps: 1, intervalMs: 0 }, delayMs, callbackUrl }
    const body = { tasks: Array.from({ length: count }, () => task) }
    const { body: answers } = await call(`${gateway.url}/v1/tasks/batch`, { body })
    return answers.results.map(({ task }: { task: { id: string } }) => task.id)
  }
  const cancel = (id: string, at: string) => call(`${at}/v1/tasks/${id}/cancel`, { method: 'POST' })

  const delayed = await submitAll(40, 600_000)
  const cancellations = delayed.map(id => cancel(id, url).catch(() => null))
  const ids = [...delayed, ...(await submitAll(200, 0))]
  await until('the first callbacks', () => received.length > 10)
  await Promise.all(doomed.map(process => process.kill()))
  await Promise.all(cancellations)

  const other = await startWorker({ redisUrl: redis.url, env })
  for (const id of delayed) await cancel(id, gateway.url)
  const contents = () => received.map(({ body }) => JSON.parse(body))
  await until('all callbacks', () => {
    const told = new Set(contents().map(({ data }) => data.taskId))
    return ids.every(id => told.has(id))
  })
  // What was sent twice is the same message.
  expect(new Set(received.map(({ headers }) => headers['webhook-id'])).size).toBe(ids.length)
  expect(await other.stop()).toBe(0)
})
