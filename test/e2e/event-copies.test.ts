// Copies of tasks' events in further channels, with processes dying between an event and its copies.

import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from '@jest/globals'
import { projectRoot } from '../../dev/project-root.ts'
import { type ChannelEvent, type NewEvent, taskChannel } from '../../shared/event.ts'
import { copiedKey, INDEX_KEY, logKey, OPEN_KEY, taskIdOfMember } from '../../shared/keys.ts'
import { isTerminal } from '../../shared/task.ts'
import { call } from '../support/http.ts'
import { startGateway, startWorker, type TestProcess } from '../support/processes.ts'
import { until } from '../support/until.ts'
import { type Broker, startBroker } from '../worker/worker-fixture.ts'

const TASKS_DIR = join(projectRoot(), 'test/e2e/tasks')

let broker: Broker
let processes: TestProcess[]
let channels: string[]

beforeAll(async () => {
  broker = await startBroker()
})
afterAll(() => broker.close())
beforeEach(() => {
  processes = []
  channels = ['user', 'team'].map(name => `${name}:${crypto.randomUUID()}`)
})
afterEach(() => Promise.all(processes.map(process => process.kill())))

async function worker(): Promise<TestProcess> {
  const started = await startWorker({
    redisUrl: broker.server.url,
    env: { MILLRACE_TASKS_DIR: TASKS_DIR },
  })
  processes.push(started)
  return started
}

async function log(channel: string): Promise<ChannelEvent[]> {
  const all: ChannelEvent[] = []
  for (;;) {
    const { events } = await broker.log.readPage(channel, all.at(-1) ?? 'earliest')
    if (events.length === 0) return all
    all.push(...events)
  }
}

/** What copies have in common with the events that they are copies of. */
const content = ({ type, time, format, data }: ChannelEvent) => ({
  type,
  time,
  format,
  data: data.toString(),
})

const taskOf = (event: ChannelEvent): string => JSON.parse(event.data.toString()).taskId

/** Resolves when each channel has each event of each task, once and in order, and no other. */
async function expectCopies(ids: readonly string[]): Promise<void> {
  for (const id of ids) {
    const events = (await log(taskChannel(id))).map(content)
    expect(isTerminal(events.at(-1)?.type ?? '')).toBe(true)
    for (const channel of channels) {
      const copies = await until(`the end of ${id} in ${channel}`, async () => {
        const found = (await log(channel)).filter(event => taskOf(event) === id)
        return isTerminal(found.at(-1)?.type ?? '') && found
      })
      expect(copies.map(content)).toEqual(events)
    }
  }
  await until('the tasks to be closed', async () => (await broker.redis.zcard(OPEN_KEY)) === 0)
  for (const channel of channels) expect(new Set((await log(channel)).map(taskOf))).toEqual(new Set(ids))
}

const ticker = (count: number, delayMs = 0) =>
  broker.submit({ type: 'ticker', input: { count, intervalMs: 5 }, channels, delayMs })

test('every event of a task is in each channel, also those that gateways write', async () => {
  await worker()
  const ids = await Promise.all([ticker(30), ticker(30), ticker(1_000), ticker(1, 60_000)])
  await broker.reached(ids[2], 'output', 20)
  await broker.queue.cancel(ids[2], 'enough')
  await broker.queue.cancel(ids[3])
  await Promise.all(ids.map(broker.ended))
  await expectCopies(ids)
})

test('what a worker that is killed had not copied yet comes later, once and in order', async () => {
  // Nothing can be appended to a channel whose log is no stream.
  for (const channel of channels) await broker.redis.set(logKey(channel), 'in the way')
  const killed = await worker()
  const [long, short] = await Promise.all([ticker(1_000), ticker(5)])
  await broker.ended(short)
  await broker.reached(long, 'output', 20)
  await killed.kill()
  for (const channel of channels) await broker.redis.del(logKey(channel))
  await worker()
  await broker.reached(long, 'started', 2)
  await broker.queue.cancel(long)
  await broker.ended(long)
  await expectCopies([long, short])
})

test('what is being copied when a worker is killed is neither lost nor doubled', async () => {
  const ids = await Promise.all(Array.from({ length: 5 }, () => ticker(150)))
  for (let kills = 1; kills <= 2; kills++) {
    const killed = await worker()
    await broker.reached(ids[0]!, 'started', kills)
    const copied = (await log(channels[0]!)).length
    await until('more copies', async () => (await log(channels[0]!)).length > copied + 50)
    await killed.kill()
  }
  await worker()
  await Promise.all(ids.map(broker.ended))
  await expectCopies(ids)
})

test('tasks that a gateway took in when it was killed have all their events in the channel', async () => {
  await worker()
  const gateway = await startGateway({ redisUrl: broker.server.url })
  processes.push(gateway)
  const submissions = Array.from({ length: 200 }, () =>
    call(`${gateway.url}/v1/tasks`, {
      body: { type: 'ticker', input: { count: 1, intervalMs: 0 }, channels },
    }).catch(() => null),
  )
  await until('the first of them', async () => (await log(channels[0]!)).length > 0)
  await gateway.kill()
  await Promise.all(submissions)
  // Whatever was recorded runs; what was queued without a word, too.
  const members = await broker.redis.zrange(INDEX_KEY, '0', '-1')
  const recorded = await broker.tasks.loadHeaders(members.map(taskIdOfMember))
  const ids = recorded.flatMap(task => (task?.channels.includes(channels[0]!) ? [task.id] : []))
  expect(ids.length).toBeGreaterThan(0)
  await Promise.all(ids.map(broker.ended))
  await until('the entries without a record not to be open', async () => {
    const open = await broker.redis.zrange(OPEN_KEY, '0', '-1')
    const known = await broker.tasks.loadHeaders(open.map(taskIdOfMember))
    await broker.redis.zrem(OPEN_KEY, 'none', ...open.filter((_, i) => known[i] === null))
    return true
  })
  await expectCopies(ids)
})

test('copies that come late, or again, change nothing', async () => {
  const [channel] = channels as [string]
  const events: NewEvent[] = [{ type: 'queued', time: 1, format: 'json', data: '{"taskId":"late"}' }]
  const step = { after: null, events, reached: { epoch: 5, seq: 1 }, keptMs: 0 }
  expect(await broker.log.copyTo(channel, 'late', step)).toEqual({ outcome: 'ok' })
  expect(await broker.log.copyTo(channel, 'late', step)).toEqual({
    outcome: 'moved',
    to: { epoch: 5, seq: 1 },
  })
  const next = { ...step, after: { epoch: 5, seq: 1 }, reached: { epoch: 5, seq: 2 }, keptMs: 60_000 }
  expect(await broker.log.copyTo(channel, 'late', next)).toEqual({ outcome: 'ok' })
  expect(await log(channel)).toHaveLength(2)
  expect(await broker.redis.pttl(copiedKey(channel, 'late'))).toBeGreaterThan(0)
})
