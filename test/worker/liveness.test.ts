import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals'
import { Liveness } from '../../worker/liveness.ts'
import { QueueState } from '../../worker/queue-state.ts'
import { type Broker, startBroker } from './worker-fixture.ts'

let broker: Broker
beforeAll(async () => {
  broker = await startBroker()
})
afterAll(() => broker.close())
beforeEach(() => broker.redis.flushall())

/** A worker as liveness sees it, on a clock of the test's own. */
function watched() {
  const worker = { room: true, taken: 0 }
  const taker = { hasRoom: () => worker.room, taken: () => worker.taken }
  let now = 0
  let liveness = new Liveness(taker, new QueueState(broker.queue, broker.tasks, () => true))
  const step = async () => {
    now += 5_000
    await liveness.observe(now)
    return liveness.check(now).ok
  }
  const pass = async (steps: number) => {
    const seen = []
    for (let i = 0; i < steps; i++) seen.push(await step())
    return seen
  }
  const disconnect = () => {
    liveness = new Liveness(taker, new QueueState(broker.queue, broker.tasks, () => false))
  }
  return { worker, pass, disconnect }
}

describe('liveness', () => {
  test('ends when tasks wait and a worker with room takes none for half a minute', async () => {
    await broker.submit({ type: 'any' })
    const { pass } = watched()
    expect(await pass(8)).toEqual([true, true, true, true, true, true, false, false])
  })

  test('comes back with the next task that is taken', async () => {
    await broker.submit({ type: 'any' })
    const { worker, pass } = watched()
    expect((await pass(8)).at(-1)).toBe(false)
    worker.taken++
    expect(await pass(1)).toEqual([true])
  })

  test('stays when nothing waits, when the worker is full, and when it takes tasks', async () => {
    expect(await watched().pass(20)).not.toContain(false)
    await broker.submit({ type: 'any' })
    const full = watched()
    full.worker.room = false
    expect(await full.pass(20)).not.toContain(false)
    const busy = watched()
    for (let i = 0; i < 20; i++) {
      busy.worker.taken++
      expect(await busy.pass(1)).toEqual([true])
    }
  })

  test('does not depend on Redis, which a restart of the worker would not bring back', async () => {
    await broker.submit({ type: 'any' })
    const { pass, disconnect } = watched()
    disconnect()
    expect(await pass(20)).not.toContain(false)
  })
})
