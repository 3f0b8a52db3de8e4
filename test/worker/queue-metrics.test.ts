import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { Registry } from 'prom-client'
import { createWorkerMetrics, measureQueue } from '../../worker/metrics.ts'
import { QueueState } from '../../worker/queue-state.ts'
import { type Broker, startBroker, startTestWorker } from './worker-fixture.ts'

let broker: Broker
beforeAll(async () => {
  broker = await startBroker()
})
afterAll(() => broker.close())

async function scrape(registry: Registry): Promise<Map<string, number>> {
  const lines = (await registry.metrics()).split('\n').filter(line => line && !line.startsWith('#'))
  return new Map(
    lines.map(line => [line.slice(0, line.lastIndexOf(' ')), Number(line.slice(line.lastIndexOf(' ')))]),
  )
}

function queueRegistry(isConnected: () => boolean = () => true): Registry {
  const registry = new Registry()
  measureQueue(registry, new QueueState(broker.queue, broker.tasks, isConnected))
  return registry
}

describe('the metrics of the queue', () => {
  test('count what waits, runs and is delayed, and say how long the oldest has been due', async () => {
    expect(await scrape(queueRegistry())).toEqual(
      new Map([
        ['millrace_queue_tasks{state="queued"}', 0],
        ['millrace_queue_tasks{state="running"}', 0],
        ['millrace_queue_tasks{state="scheduled"}', 0],
        ['millrace_queue_tasks{state="held"}', 0],
        ['millrace_queue_oldest_seconds', 0],
      ]),
    )
    const id = await broker.submit({ type: 'nobody' })
    await broker.putBack(id, 3_600_000)
    await broker.submit({ type: 'nobody', priority: 5 })
    await broker.submit({ type: 'nobody', delayMs: 60_000 })
    const metrics = await scrape(queueRegistry())
    expect(metrics.get('millrace_queue_tasks{state="queued"}')).toBe(2)
    expect(metrics.get('millrace_queue_tasks{state="scheduled"}')).toBe(1)
    expect(Math.floor(metrics.get('millrace_queue_oldest_seconds')! / 60)).toBe(60)
  })

  test('have no samples while Redis is away, instead of failing the scrape or claiming an empty queue', async () => {
    expect((await scrape(queueRegistry(() => true))).size).toBe(5)
    expect((await scrape(queueRegistry(() => false))).size).toBe(0)
  })
})

describe('the metrics of tasks', () => {
  test('begin at zero for the handlers that are loaded', async () => {
    const registry = new Registry()
    createWorkerMetrics(registry, ['known'])
    const metrics = await scrape(registry)
    expect(metrics.get('millrace_tasks_running{type="known"}')).toBe(0)
    expect(metrics.get('millrace_tasks_finished_total{type="known",state="expired"}')).toBe(0)
    expect(metrics.get('millrace_task_retries_total{type="known"}')).toBe(0)
    expect(metrics.get('millrace_tasks_recovered_total')).toBe(0)
  })

  test('follow what happens to tasks', async () => {
    let scrapeRunning = async () => new Map<string, number>()
    const worker = startTestWorker(broker, [
      {
        type: 'measured',
        async run(_input, { attempt }) {
          if (attempt === 1) throw new Error('no')
          return (await scrapeRunning()).get('millrace_tasks_running{type="measured"}')
        },
      },
    ])
    scrapeRunning = () => scrape(worker.registry)
    const id = await broker.submit({ type: 'measured', attempts: 2 })
    expect(await broker.ended(id)).toMatchObject({ result: 1 })
    await worker.stop(60_000)
    const metrics = await scrape(worker.registry)
    expect(metrics.get('millrace_tasks_running{type="measured"}')).toBe(0)
    expect(metrics.get('millrace_task_retries_total{type="measured"}')).toBe(1)
    expect(metrics.get('millrace_tasks_finished_total{type="measured",state="completed"}')).toBe(1)
    expect(metrics.get('millrace_task_duration_seconds_count{type="measured",state="completed"}')).toBe(1)
    expect(metrics.get('millrace_task_wait_seconds_count{type="measured"}')).toBe(2)
  })

  test('count a task that is taken up again after its worker was lost', async () => {
    const id = await broker.submit({ type: 'lost' })
    await broker.redis.hset(`mr:{task:${id}}:state`, { state: 'running', run: 1, startedAt: 1 })
    const worker = startTestWorker(broker, [{ type: 'lost', run: () => null }])
    expect(await broker.ended(id)).toMatchObject({ state: 'completed', run: 2, lostRuns: 1 })
    await worker.stop(60_000)
    expect((await scrape(worker.registry)).get('millrace_tasks_recovered_total')).toBe(1)
  })
})
