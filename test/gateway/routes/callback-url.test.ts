// Where a gateway lets callbacks go, and that it queues them for tasks that it ends itself.

import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { Redis } from 'ioredis'
import { taskKey } from '../../../shared/keys.ts'
import { parseTaskFields } from '../../../shared/task-record.ts'
import { announceTaskTypes } from '../../../shared/task-types.ts'
import { call, expectProblem } from '../../support/http.ts'
import { startGateway, type TestGateway } from '../../support/processes.ts'
import { startRedis, type TestRedis } from '../../support/redis.ts'

const SECRET = `whsec_${Buffer.alloc(24, 7).toString('base64')}`
const ALLOWED = 'https://hooks.example/millrace'

let server: TestRedis
let redis: Redis
let gateway: TestGateway
let unsigned: TestGateway

beforeAll(async () => {
  server = await startRedis()
  redis = new Redis(server.url)
  const env = { MILLRACE_HTTP_TARGETS: ALLOWED }
  gateway = await startGateway({ redisUrl: server.url, env: { ...env, MILLRACE_WEBHOOK_SECRET: SECRET } })
  unsigned = await startGateway({ redisUrl: server.url, env })
  await announceTaskTypes(redis, [{ type: 'any', inputSchema: null, attempts: 1, timeoutMs: 60_000 }])
})
afterAll(async () => {
  redis.disconnect()
  await server.close()
})

test('a task with an allowed one is accepted, and its callback queued when the gateway cancels it', async () => {
  const { body } = await call(`${gateway.url}/v1/tasks`, {
    body: { type: 'any', callbackUrl: `${ALLOWED}/1` },
  })
  expect(body).not.toHaveProperty('callbackUrl')
  const { body: task } = await call(`${gateway.url}/v1/tasks/${body.id}/cancel`, { method: 'POST' })
  const data = await redis.hget(`{mr}:callbacks:${body.id}_${task.lastEventId}`, 'data')
  expect(JSON.parse(data ?? '')).toMatchObject({ taskId: body.id, url: `${ALLOWED}/1` })
})

test('a task that is run again keeps it', async () => {
  const { body: first } = await call(`${gateway.url}/v1/tasks`, {
    body: { type: 'any', callbackUrl: ALLOWED },
  })
  await call(`${gateway.url}/v1/tasks/${first.id}/cancel`, { method: 'POST' })
  const { body: again } = await call(`${gateway.url}/v1/tasks/${first.id}/retry`, { method: 'POST' })
  expect(parseTaskFields(await redis.hgetall(taskKey(again.id)))?.callbackUrl).toBe(ALLOWED)
})

test.each([
  ['http://hooks.example/millrace'],
  ['https://hooks.example/'],
  ['https://hooks.example/millrace/..%2f'],
  ['https://user:secret@hooks.example/millrace'],
  ['ftp://hooks.example/millrace'],
  ['no url'],
  [7],
])('%j is refused with its path', async callbackUrl => {
  const answer = await call(`${gateway.url}/v1/tasks`, { body: { type: 'any', callbackUrl } })
  expectProblem(answer, 422, 'invalid-body', ['callbackUrl'])
  expect(answer.text).not.toContain('secret')
})

test('in a batch it is refused there, alone', async () => {
  const tasks = [
    { type: 'any', callbackUrl: 'http://elsewhere.example/' },
    { type: 'any', callbackUrl: ALLOWED },
  ]
  const { body } = await call(`${gateway.url}/v1/tasks/batch`, { body: { tasks } })
  expect(body.results).toMatchObject([
    { status: 422, problem: { code: 'invalid-body', errors: [{ path: 'tasks.0.callbackUrl' }] } },
    { status: 202 },
  ])
})

test('in a schedule it is refused there', async () => {
  const task = { type: 'any', callbackUrl: 'http://elsewhere.example/' }
  const answer = await call(`${gateway.url}/v1/schedules/s`, {
    method: 'PUT',
    body: { everyMs: 60_000, task },
  })
  expectProblem(answer, 422, 'invalid-body', ['task.callbackUrl'])
})

test('any is refused where no secret is set, since nothing could be signed', async () => {
  const answer = await call(`${unsigned.url}/v1/tasks`, {
    body: { type: 'any', callbackUrl: `${ALLOWED}/1` },
  })
  expectProblem(answer, 422, 'invalid-body', ['callbackUrl'])
  expect(answer.body.detail).toContain('MILLRACE_WEBHOOK_SECRET')
})
