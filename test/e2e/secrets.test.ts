/** Nothing secret comes out of a gateway or a worker, whatever the entrance it came in by. */
import { once } from 'node:events'
import { connect } from 'node:net'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { Redis } from 'ioredis'
import { call } from '../support/http.ts'
import { startGateway, startWorker, type TestGateway, type TestProcess } from '../support/processes.ts'
import { startRedis, type TestRedis } from '../support/redis.ts'
import { until } from '../support/until.ts'
import { openViewer } from '../support/viewer.ts'

/** In every secret, so that a part of one is found too. */
const MARK = 'hush'
let secrets = 0
const secret = () => `${MARK}${String(++secrets).padStart(4, '0')}${'x'.repeat(24)}`

const redisPassword = secret()
const STREAMS = ['/v1/tasks/a/events', '/v1/channels/a/events', '/v1/events?channel=a']
const PATHS = [...STREAMS, '/v1/tasks', '/v1/tasks/a', '/v1/task-types', '/v1/schedules', '/', '/nowhere']

let server: TestRedis
let gateway: TestGateway
let worker: TestProcess

beforeAll(async () => {
  server = await startRedis()
  const redis = new Redis(server.url)
  await redis.config('SET', 'requirepass', redisPassword)
  redis.disconnect()
  const options = {
    redisUrl: server.url.replace('redis://', `redis://:${redisPassword}@`),
    env: {
      LOG_LEVEL: 'trace',
      MILLRACE_WEBHOOK_SECRET: `whsec_${Buffer.from(secret()).toString('base64')}`,
      // Nobody listens there.
      MILLRACE_HTTP_TARGETS: 'http://127.0.0.1:9/jobs',
    },
  }
  ;[gateway, worker] = await Promise.all([startGateway(options), startWorker(options)])
})

afterAll(async () => {
  await server.close()
})

/** What is out by now: on stdout and stderr, and as metrics. */
async function told(): Promise<string> {
  const metrics = [gateway, worker].map(async ({ opsUrl }) => (await call(`${opsUrl}/metrics`)).text)
  return [gateway.output(), worker.output(), ...(await Promise.all(metrics))].join('\n')
}

/** Shows the lines alone that tell something. */
async function expectNothingTold(): Promise<void> {
  const lines = (await told()).split('\n')
  const base64 = Buffer.from(MARK).toString('base64url').slice(0, 4)
  expect(lines.filter(line => line.includes(MARK) || line.includes(base64))).toEqual([])
}

const submit = (body: object) => call(`${gateway.url}/v1/tasks`, { body })

test('credentials in headers, cookies and URLs', async () => {
  for (const path of PATHS) {
    const url = gateway.url + path
    const headers = {
      Accept: 'application/json',
      Authorization: `Bearer ${secret()}`,
      Cookie: `millrace_token=${secret()}; other=${secret()}`,
      'Idempotency-Key': secret(),
    }
    await call(`${url}${url.includes('?') ? '&' : '?'}token=${secret()}`, { headers })
    await call(url, { headers: { ...headers, Authorization: `Basic ${secret()}` } })
    await call(url, { method: 'DELETE', headers })
  }
  for (const path of STREAMS.slice(1)) {
    const viewer = await openViewer(`${gateway.url}${path}${path.includes('?') ? '&' : '?'}token=${secret()}`)
    viewer.cut()
  }
  await until('the requests are logged', () => gateway.output().includes('"path":"/v1/channels/a/events"'))
  await expectNothingTold()
})

test('what is said in a request that is not HTTP', async () => {
  for (const text of [
    `GET /?token=${secret()} HTTP/9\r\n\r\n`,
    `GET / HTTP/1.1\r\nAuthorization : ${secret()}\r\n\r\n`,
  ]) {
    const socket = connect(Number(new URL(gateway.url).port), '127.0.0.1')
    socket.resume()
    socket.write(text)
    await once(socket, 'close')
  }
  await expectNothingTold()
})

test('inputs, results and events, also of what is refused or fails', async () => {
  const events = `${gateway.url}/v1/channels/a/events`
  await call(events, { body: { data: secret() } })
  await call(events, { body: secret(), headers: { 'Content-Type': 'text/plain' } })
  await call(events, { body: `{"data": ${secret()}` })
  await submit({ type: 'countdown', input: { [secret()]: secret() } })
  await submit({ type: secret(), input: secret() })
  await submit({ type: 'countdown', callbackUrl: `http://me:${secret()}@127.0.0.1:9/jobs` })
  const tasks = await Promise.all([
    submit({ type: 'csv-summary', input: { csv: `a,b\n${secret()},1` } }),
    submit({ type: 'csv-summary', input: { csv: `a\n"${secret()}` } }),
    submit({
      type: 'http',
      input: {
        url: `http://127.0.0.1:9/jobs?key=${secret()}`,
        headers: { Authorization: secret() },
        body: secret(),
      },
    }),
    submit({
      type: 'countdown',
      input: { steps: 1, intervalMs: 0 },
      callbackUrl: `http://127.0.0.1:9/jobs?key=${secret()}`,
    }),
  ])
  for (const { body } of tasks) {
    const ended = await call(gateway.url + body.links.self, { headers: { Prefer: 'wait=30' } })
    expect(ended.body.finishedAt).not.toBeNull()
  }
  await until('the callback has failed once', () => worker.output().includes('a callback was not delivered'))
  await expectNothingTold()
})

test('commands that Redis failed', async () => {
  process.kill(server.pid, 'SIGSTOP')
  const refused = Promise.all([
    submit({ type: 'countdown', input: { steps: 1 }, channels: [secret()] }),
    call(`${gateway.url}/v1/channels/a/events`, { body: { data: secret() } }),
  ])
  expect((await refused).map(({ status }) => status)).toEqual([503, 503])
  await server.kill()
  await until('it is logged', () => gateway.output().includes('Redis failed a request'))
  await expectNothingTold()
})

test('a password that Redis refuses', async () => {
  await server.restart()
  const redis = new Redis(server.url)
  await redis.config('SET', 'requirepass', redisPassword)
  redis.disconnect()
  const wrong = await startGateway({
    redisUrl: server.url.replace('redis://', `redis://${secret()}:${secret()}@`),
    env: { LOG_LEVEL: 'trace' },
  })
  await until('it is logged', () => wrong.output().includes('WRONGPASS'))
  expect(wrong.output()).not.toContain(MARK)
  await wrong.kill()
})
