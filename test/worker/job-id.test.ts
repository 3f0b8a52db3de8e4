import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { QueueKeys } from 'bullmq'
import { QUEUE_NAME, QUEUE_PREFIX } from '../../shared/keys.ts'
import { type Broker, startBroker, startTestWorker } from './worker-fixture.ts'

let broker: Broker
beforeAll(async () => {
  broker = await startBroker()
})
afterAll(() => broker.close())

test('a task may be called like whatever the queue calls its own keys', async () => {
  const ids = Object.keys(new QueueKeys(QUEUE_PREFIX).getKeys(QUEUE_NAME)).filter(id => id !== '')
  expect(ids).toContain('wait')
  await Promise.all(ids.map((id, i) => broker.submit({ type: 'probe', id, priority: i % 2, delayMs: i % 3 })))
  const worker = startTestWorker(broker, [{ type: 'probe', run: (_, { id }) => id }])
  for (const id of ids) expect(await broker.ended(id)).toMatchObject({ state: 'completed', result: id })
  await worker.stop()
})
