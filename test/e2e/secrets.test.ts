/** Nothing secret comes out of a gateway or a worker, whatever the entrance it came in by. */
import { once } from 'node:events'
import { connect } from 'node:net'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { Redis } from 'ioredis'
import { SignJWT } from 'jose'
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
const apiKey = secret()
const jwtSecret = secret()
/** Parts of tokens, which don't have the mark. */
const tokenParts: string[] = []
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
      MILLRACE_AUTH: 'on',
      MILLRACE_API_KEYS: `service:${apiKey}`,
      MILLRACE_JWT_SECRET: jwtSecret,
      MILLRACE_RATE_LIMIT: '100000',
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
  const asBase64 = Buffer.from(MARK).toString('base64url').slice(0, 4)
  const unsaid = [MARK, asBase64, ...tokenParts]
  const lines = (await told()).split('\n')
  expect(lines.filter(line => unsaid.some(part => line.includes(part)))).toEqual([])
}

const asService = { Authorization: `Bearer ${apiKey}` }
const submit = (body: object) => call(`${gateway.url}/v1/tasks`, { headers: asService, body })
const withQuery = (path: string, query: string) =>
  `${gateway.url}${path}${path.includes('?') ? '&' : '?'}${query}`

/** Notes a token, without its head, which is the same in all. */
function noted(token: string): string {
  tokenParts.push(...token.split('.').slice(1))
  return token
}

async function userToken(expiresAt: string | number): Promise<string> {
  const claims = { sub: secret(), millrace: { subscribe: ['*'], tasks: ['*'] } }
  const token = new SignJWT(claims).setProtectedHeader({ alg: 'HS256' }).setExpirationTime(expiresAt)
  return noted(await token.sign(Buffer.from(jwtSecret)))
}

test('credentials that are no good, in headers, cookies and URLs', async () => {
  const expired = await userToken(1)
  const forged = (await userToken('1h')).replace(/.{8}$/, 'AAAAAAAA')
  for (const path of PATHS) {
    for (const bad of [secret(), `service:${secret()}`, expired, forged]) {
      const headers = { Accept: 'application/json', 'Idempotency-Key': secret() }
      const answers = [
        await call(gateway.url + path, { headers: { ...headers, Authorization: `Bearer ${bad}` } }),
        await call(gateway.url + path, { headers: { ...headers, Authorization: `Basic ${bad}` } }),
        await call(gateway.url + path, { headers: { ...headers, Cookie: `millrace=${bad}` } }),
        await call(withQuery(path, `token=${bad}`), { headers }),
        await call(withQuery(path, `token=${bad}`), { headers, method: 'DELETE' }),
      ]
      expect(answers.map(({ status }) => status)).toEqual([401, 401, 401, 401, 401])
    }
  }
  await until('the requests are logged', () => gateway.output().includes('"path":"/v1/channels/a/events"'))
  await expectNothingTold()
})

test('credentials that are good: keys, tokens of users, minted ones, tickets', async () => {
  const user = await userToken('1h')
  const minting = { headers: asService, body: { subscribe: ['*'] } }
  const minted = noted((await call(`${gateway.url}/v1/tokens`, minting)).body.token)
  const task = await submit({ id: 'a', type: 'countdown', input: { steps: 1_000 } })
  const ticket = noted(new URL(task.body.links.events, gateway.url).searchParams.get('token')!)
  expect((await call(gateway.url + task.body.links.self, { headers: asService })).status).toBe(200)
  for (const path of STREAMS) {
    for (const token of [user, minted, ...(path === STREAMS[0] ? [ticket] : [])]) {
      const viewer = await openViewer(withQuery(path, `token=${token}`))
      expect({ path, status: viewer.status }).toEqual({ path, status: 200 })
      viewer.cut()
    }
    const byCookie = await call(gateway.url + path, {
      headers: { Accept: 'application/json', Cookie: `millrace=${user}` },
    })
    expect(byCookie.status).toBe(200)
  }
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
  const headers = asService
  await call(events, { headers, body: { data: secret() } })
  await call(events, { headers: { ...headers, 'Content-Type': 'text/plain' }, body: secret() })
  await call(events, { headers, body: `{"data": ${secret()}` })
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
    const ended = await call(gateway.url + body.links.self, {
      headers: { ...asService, Prefer: 'wait=30' },
    })
    expect(ended.body.finishedAt).not.toBeNull()
  }
  await until('the callback has failed once', () => worker.output().includes('a callback was not delivered'))
  await expectNothingTold()
})

test('commands that Redis failed', async () => {
  process.kill(server.pid, 'SIGSTOP')
  const refused = Promise.all([
    submit({ type: 'countdown', input: { steps: 1 }, channels: [secret()] }),
    call(`${gateway.url}/v1/channels/a/events`, { headers: asService, body: { data: secret() } }),
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
