// deploy/redis-users.acl is enough for all that Millrace does, and for no more than that.

import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { Redis } from 'ioredis'
import { projectRoot } from '../../dev/project-root.ts'
import { call } from '../support/http.ts'
import { startGateway, startWorker, type TestGateway, type TestProcess } from '../support/processes.ts'
import { startRedis, type TestRedis } from '../support/redis.ts'
import { until } from '../support/until.ts'
import { openViewer } from '../support/viewer.ts'

const FILE = join(projectRoot(), 'deploy/redis-users.acl')
const PASSWORD = 'a-long-password-of-the-test'
const SECRET = `whsec_${Buffer.alloc(32, 1).toString('base64')}`

let dir: string
let server: TestRedis
/** May do everything, and looks on. */
let admin: Redis
let env: Record<string, string>
let gateway: TestGateway
let worker: TestProcess
const calledBack: string[] = []
const receiver = createServer((request, response) => {
  calledBack.push(String(request.headers['webhook-id']))
  response.end()
})

const as = (user: string, password: string) => server.url.replace('//', `//${user}:${password}@`)

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'millrace-acl-'))
  const users = readFileSync(FILE, 'utf8')
    .replace('>change-me', `>${PASSWORD}`)
    .replace('user default off', 'user default on nopass ~* &* +@all')
  await writeFile(join(dir, 'users.acl'), users)
  server = await startRedis({ settings: { aclfile: join(dir, 'users.acl') } })
  admin = new Redis(server.url)
  await once(receiver.listen(0, '127.0.0.1'), 'listening')
  const target = `http://127.0.0.1:${(receiver.address() as AddressInfo).port}`
  env = {
    MILLRACE_HTTP_TARGETS: target,
    MILLRACE_WEBHOOK_SECRET: SECRET,
    MILLRACE_DEMO: 'on',
    MILLRACE_RATE_LIMIT: '1000',
  }
  const options = { redisUrl: as('millrace', PASSWORD), env }
  ;[gateway, worker] = await Promise.all([startGateway(options), startWorker(options)])
})
afterAll(async () => {
  receiver.close().closeAllConnections()
  admin?.disconnect()
  await server?.close()
  await rm(dir, { recursive: true, force: true })
})

/** What Redis has refused so far, as `<user> <what> <why>`. */
async function refused(): Promise<string[]> {
  const entries = (await admin.call('ACL', 'LOG')) as string[][]
  return entries.map(entry => {
    const field = (name: string) => entry[entry.indexOf(name) + 1]
    return `${field('username')} ${field('object')} ${field('reason')}`
  })
}

const submit = async (more: object): Promise<string> => {
  const body = { type: 'countdown', input: { steps: 2, intervalMs: 10 }, ...more }
  const task = await call(`${gateway.url}/v1/tasks`, { body })
  expect(task).toMatchObject({ status: 202 })
  return task.body.id
}
const endOf = async (id: string): Promise<string | undefined> => {
  const viewer = await openViewer(`${gateway.url}/v1/tasks/${id}/events`)
  expect(await viewer.done).toBe('ended')
  return viewer.events.at(-1)?.type
}

test('tasks of every kind run to their end', async () => {
  const { MILLRACE_HTTP_TARGETS: callbackUrl = '' } = env
  const channels = ['user:1']
  const ids = await Promise.all([
    submit({}),
    submit({ priority: 5 }),
    submit({ delayMs: 50 }),
    submit({ channels, concurrencyKey: 'tenant:1', concurrencyLimit: 1 }),
    submit({ channels, concurrencyKey: 'tenant:1', concurrencyLimit: 1 }),
    submit({ callbackUrl }),
  ])
  expect(await Promise.all(ids.map(endOf))).toEqual(ids.map(() => 'completed'))
  await until('the callback', () => calledBack.some(id => id.startsWith(`${ids.at(-1)}_`)))

  const failing = await submit({ type: 'http', input: { url: 'http://127.0.0.1:1/' }, attempts: 2 })
  expect(await endOf(failing)).toBe('failed')
  const again = await call(`${gateway.url}/v1/tasks/${failing}/retry`, { method: 'POST' })
  expect(again).toMatchObject({ status: 202 })
  expect(await endOf(again.body.id)).toBe('failed')

  const headers = { 'Idempotency-Key': 'k1' }
  const tasks = [{ type: 'countdown', input: { steps: 1 } }, { type: 'countdown' }]
  const batch = () => call(`${gateway.url}/v1/tasks/batch`, { headers, body: { tasks } })
  expect((await batch()).body).toEqual((await batch()).body)
  expect(await call(`${gateway.url}/v1/tasks?state=completed&limit=1`)).toMatchObject({ status: 200 })
  expect(await refused()).toEqual([])
})

test('tasks that wait, run or are to run later are cancelled', async () => {
  const running = await submit({ input: { steps: 1_000 } })
  const watched = await openViewer(`${gateway.url}/v1/tasks/${running}/events`)
  await watched.until(({ events }) => events.some(({ type }) => type === 'progress'))
  const later = await submit({ delayMs: 60_000 })
  for (const id of [running, later]) {
    expect((await call(`${gateway.url}/v1/tasks/${id}/cancel`, { method: 'POST' })).status).toBe(202)
    expect(await endOf(id)).toBe('cancelled')
  }
  expect(await refused()).toEqual([])
})

test('schedules run and are removed', async () => {
  const url = `${gateway.url}/v1/schedules/each-second`
  const body = { everyMs: 1_000, task: { type: 'countdown', input: { steps: 1, intervalMs: 0 } } }
  expect((await call(url, { method: 'PUT', body })).status).toBe(201)
  await until('two runs', async () => {
    const { body } = await call(`${gateway.url}/v1/tasks?scheduleId=each-second&state=completed`)
    return body.tasks.length >= 2
  })
  expect((await call(`${gateway.url}/v1/schedules`)).body.schedules).toHaveLength(1)
  expect((await call(url, { method: 'DELETE' })).status).toBe(204)
  expect(await refused()).toEqual([])
})

test('channels are published to and watched, also when their log has gone back', async () => {
  const url = `${gateway.url}/v1/channels/room:1/events`
  const headers = { 'Idempotency-Key': 'k2' }
  await call(url, { headers, body: [{ data: 1 }, { data: 2 }] })
  const viewer = await openViewer(`${url}?from=earliest`)
  await viewer.until(({ events }) => events.length === 2)
  await admin.call('XTRIM', 'mr:{room:1}:log', 'MAXLEN', '0')
  await admin.call('XSETID', 'mr:{room:1}:log', '1-1')
  expect((await call(url, { body: { data: 3 } })).status).toBe(201)
  await viewer.until(({ events }) => events.some(({ data }) => data === '3'))
  expect(await refused()).toEqual([])
})

test('a task whose worker is killed goes on with another one, which ends in good order', async () => {
  const id = await submit({ input: { steps: 40, intervalMs: 100 } })
  await until('it runs', async () => (await call(`${gateway.url}/v1/tasks/${id}`)).body.state === 'running')
  await worker.kill()
  worker = await startWorker({ redisUrl: as('millrace', PASSWORD), env })
  expect(await endOf(id)).toBe('completed')
  expect(await worker.stop()).toBe(0)
  expect(await refused()).toEqual([])
})

test.each([
  ['keys of others', ['SET', 'others', '1']],
  ['pub/sub names of others', ['PUBLISH', 'others', '1']],
  ['all keys', ['KEYS', '*']],
  ['what empties it', ['FLUSHALL']],
  ['its configuration', ['CONFIG', 'GET', '*']],
  ['its users', ['ACL', 'LIST']],
  ['other connections', ['CLIENT', 'LIST']],
  ['what others say', ['MONITOR']],
])('the user may not reach %s', async (_, [command = '', ...args]) => {
  const millrace = new Redis(as('millrace', PASSWORD))
  await expect(millrace.call(command, ...args)).rejects.toThrow('NOPERM')
  millrace.disconnect()
})

test('nothing of the password is in a log, neither where it is right nor where it is wrong', async () => {
  const wrong = await startGateway({ redisUrl: as('millrace', 'a-wrong-password') })
  await until('it is refused', () => wrong.output().includes('WRONGPASS'))
  expect(wrong.output()).not.toContain('a-wrong-password')
  expect(gateway.output() + worker.output()).not.toContain(PASSWORD)
  await wrong.stop()
})

/** Scripts of BullMQ for what Millrace leaves alone: its relays, its flows, and what only people do by hand. */
const UNUSED =
  /^(?:relay|addParentJob|addLog|changePriority|cleanJobsInSet|drain|getDependencyCounts|getRateLimitTtl|moveToWaitingChildren|obliterate|paginate|pause|promote|releaseLock|releaseParent|removeOrphanedJobs|removeUnprocessedChildren)/

test('the user has every command that the scripts name, those of rare cases included', async () => {
  const folders: [string, RegExp][] = [
    ['node_modules/bullmq/dist/cjs/scripts', /\.js$/],
    ['node_modules/rate-limiter-flexible/lib', /^RateLimiterRedis\.js$/],
    ['shared', /\.lua$/],
  ]
  const named = folders.flatMap(([folder, name]) =>
    readdirSync(join(projectRoot(), folder))
      .filter(file => name.test(file) && !UNUSED.test(file))
      .flatMap(file => commandsOf(readFileSync(join(projectRoot(), folder, file), 'utf8'))),
  )
  const known = new Set((await admin.call('COMMAND', 'LIST')) as string[])
  const needed = new Set(named.filter(command => known.has(command)))
  expect(needed.size).toBeGreaterThan(40)
  const allowed = [...readFileSync(FILE, 'utf8').matchAll(/\+([a-z]+)/g)].map(([, command]) => command)
  expect([...needed].filter(command => !allowed.includes(command))).toEqual([])
})

/** What a script calls, or names to call it later. */
function commandsOf(text: string): string[] {
  const script = text.replace(/^\s*--.*/gm, '')
  const called = script.matchAll(/\b(?:rcall|redis\.p?call)\(\s*['"](\w+)/g)
  const upperCase = script.matchAll(/['"]([A-Z]{3,})['"]/g)
  return [...called, ...upperCase].map(([, command = '']) => command.toLowerCase())
}
