// The main job end to end, with two gateways and two workers as real processes, and something dying in the
// middle of it.

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals'
import { startGateway, startWorker, type TestGateway, type TestProcess } from '../support/processes.ts'
import { startRedis, type TestRedis } from '../support/redis.ts'
import { openViewer, type Viewer } from '../support/viewer.ts'

const STEPS = 40
const INTERVAL_MS = 50

let server: TestRedis
let gateways: [TestGateway, TestGateway]
let workers: TestProcess[]

beforeAll(async () => {
  server = await startRedis()
  workers = await Promise.all([startWorker({ redisUrl: server.url }), startWorker({ redisUrl: server.url })])
})

beforeEach(async () => {
  // Shorter than a task, so that a drain is over before its task is.
  const options = { redisUrl: server.url, env: { MILLRACE_DRAIN_MS: '300' } }
  gateways = await Promise.all([startGateway(options), startGateway(options)])
})

afterEach(async () => {
  await Promise.all(gateways.map(gateway => gateway.stop()))
})

afterAll(async () => {
  await Promise.all(workers.map(worker => worker.stop()))
  await server.close()
})

async function submit(
  gateway: TestGateway,
  input: object = { steps: STEPS, intervalMs: INTERVAL_MS },
): Promise<string> {
  const response = await fetch(`${gateway.url}/v1/tasks`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ type: 'countdown', input }),
  })
  expect(response.status).toBe(202)
  return ((await response.json()) as { id: string }).id
}

const events = (gateway: TestGateway, id: string): string => `${gateway.url}/v1/tasks/${id}/events`

/** What the log holds, by way of the JSON history. */
async function history(
  gateway: TestGateway,
  id: string,
): Promise<{ id: string; type: string; data: object }[]> {
  const response = await fetch(`${events(gateway, id)}?limit=1000`, {
    headers: { Accept: 'application/json' },
  })
  return ((await response.json()) as { events: { id: string; type: string; data: object }[] }).events
}

/** The viewer has seen exactly what the log holds, and the log ends once. */
async function expectSameAsLog(viewer: Viewer, gateway: TestGateway, id: string): Promise<void> {
  const log = await history(gateway, id)
  expect(viewer.events.map(event => `${event.id} ${event.type}`)).toEqual(
    log.map(event => `${event.id} ${event.type}`),
  )
  expect(log.map(event => Number(event.id.split('-')[1]))).toEqual(log.map((_, i) => i + 1))
  expect(log[0]?.type).toBe('queued')
  expect(
    log.filter(event => ['completed', 'failed', 'cancelled', 'expired'].includes(event.type)),
  ).toHaveLength(1)
  expect(log.at(-1)?.type).toBe('completed')
}

const seenProgress = (viewer: Viewer): number =>
  viewer.events.filter(event => event.type === 'progress').length

describe('a task is watched to its end', () => {
  test('by a viewer that is cut off and resumes on the other gateway: it gets exactly the rest', async () => {
    const id = await submit(gateways[0])
    const viewer = await openViewer(events(gateways[0], id))
    await viewer.until(() => seenProgress(viewer) >= 5)
    viewer.cut()
    await viewer.done
    await viewer.connect(events(gateways[1], id))
    expect(await viewer.done).toBe('ended')
    await expectSameAsLog(viewer, gateways[0], id)
    expect(seenProgress(viewer)).toBe(STEPS)
    await viewer.connect(events(gateways[1], id))
    expect(viewer.status).toBe(204)
  })

  test('although its gateway is killed', async () => {
    const id = await submit(gateways[0])
    const viewer = await openViewer(events(gateways[0], id))
    await viewer.until(() => seenProgress(viewer) >= 5)
    await gateways[0].kill()
    expect(await viewer.done).toBe('broken')
    await viewer.connect(events(gateways[1], id))
    await viewer.done
    await expectSameAsLog(viewer, gateways[1], id)
  })

  test('although its gateway is told to stop: the stream ends in good order and resumes elsewhere', async () => {
    const id = await submit(gateways[0])
    const viewer = await openViewer(events(gateways[0], id))
    await viewer.until(() => seenProgress(viewer) >= 3)
    const stopped = gateways[0].stop()
    expect(await viewer.done).toBe('ended')
    expect(viewer.raw.slice(-150)).toMatch(/retry: \d+\n\n$/)
    await viewer.connect(events(gateways[1], id))
    await viewer.done
    await expectSameAsLog(viewer, gateways[1], id)
    expect(await stopped).toBe(0)
  })

  test('although its worker is killed: another one runs it again, as the same attempt', async () => {
    const id = await submit(gateways[0])
    const viewer = await openViewer(events(gateways[1], id))
    await viewer.until(() => seenProgress(viewer) >= 5)
    const [started] = viewer.data('started') as { worker: string }[]
    const victim = workers.findIndex(worker => started?.worker.endsWith(`-${worker.pid}`))
    await workers[victim]?.kill()
    expect(await viewer.done).toBe('ended')
    await expectSameAsLog(viewer, gateways[0], id)
    expect(viewer.data('started')).toMatchObject([
      { attempt: 1, run: 1 },
      { attempt: 1, run: 2 },
    ])
    workers[victim] = await startWorker({ redisUrl: server.url })
  })

  test('although Redis is killed and restarted: nothing that was answered is lost', async () => {
    const ids = await Promise.all(Array.from({ length: 5 }, () => submit(gateways[0])))
    const viewers = await Promise.all(
      ids.map((id, i) => openViewer(events(gateways[i % 2] ?? gateways[0], id))),
    )
    for (const viewer of viewers) await viewer.until(() => seenProgress(viewer) >= 3)
    const before = viewers.map(viewer =>
      viewer.events.map(event => `${event.id} ${event.type} ${event.data}`),
    )
    await server.kill()
    await server.restart()
    for (const [i, viewer] of viewers.entries()) {
      expect(await viewer.done).toBe('ended')
      expect(
        viewer.events.map(event => `${event.id} ${event.type} ${event.data}`).slice(0, before[i]?.length),
      ).toEqual(before[i])
      await expectSameAsLog(viewer, gateways[0], ids[i] ?? '')
    }
  })
})
