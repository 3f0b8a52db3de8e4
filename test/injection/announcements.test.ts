// What stands in Redis of task types may come from a worker of another version, or from nobody who means well.

import { afterAll, beforeAll, expect, test } from '@jest/globals'
import fc from 'fast-check'
import { TYPES_KEY } from '../../shared/keys.ts'
import { call, expectProblem } from '../support/http.ts'
import { type Broker, startBroker } from './broker.ts'
import { hostileJson, hostileText } from './hostile-values.ts'
import { expectSound, send } from './raw-request.ts'

let broker: Broker

beforeAll(async () => {
  broker = await startBroker()
})
afterAll(() => broker?.close())

const types = async (): Promise<string[]> => {
  const answer = await call(`${broker.url}/v1/task-types`)
  expect(answer).toMatchObject({ status: 200 })
  return answer.body.types.map(({ type }: { type: string }) => type)
}

const NOW = Date.now()
const announcement = (more: object) =>
  JSON.stringify({ type: 'odd', inputSchema: null, attempts: 1, timeoutMs: 1_000, announcedAt: NOW, ...more })

test.each([
  ['no JSON', '{'],
  ['null', 'null'],
  ['a list', '[]'],
  ['a text', '"odd"'],
  ['without a type', announcement({ type: undefined })],
  ['of a type that none can have', announcement({ type: '\r\nX-Injected: 1\r\n\r\n<script>' })],
  ['with a schema that is none', announcement({ inputSchema: 'anything' })],
  ['with attempts that are none', announcement({ attempts: '<b>1</b>' })],
  ['with a time limit that is none', announcement({ timeoutMs: -1 })],
  ['with a backoff that is none', announcement({ backoff: { type: 'endless' } })],
  [
    'deeper than can be written again',
    `{"type":"odd","inputSchema":${'['.repeat(100_000)}${']'.repeat(100_000)}}`,
  ],
])('an announcement is passed over that is %s', async (_, text) => {
  const known = await types()
  await broker.redis.hset(TYPES_KEY, 'odd', text)
  try {
    expect(await types()).toEqual(known)
    expectProblem(await call(`${broker.url}/v1/tasks`, { body: { type: 'odd' } }), 422, 'unknown-task-type')
    await broker.expectUnharmed()
  } finally {
    await broker.redis.hdel(TYPES_KEY, 'odd')
  }
})

test('an announcement with any schema, under any name, leaves the other types as they are', async () => {
  const announced = async (name: string, schema: string): Promise<void> => {
    const text = announcement({ inputSchema: 0 }).replace('"inputSchema":0', `"inputSchema":${schema}`)
    await broker.redis.hset(TYPES_KEY, name, text)
    expect(await types()).toContain('echo')
    const body = '{"type":"odd","input":{"a":[1]}}'
    expectSound(await send(broker.url, { method: 'POST', path: '/v1/tasks', body }))
    await broker.redis.hdel(TYPES_KEY, name)
  }
  await fc.assert(fc.asyncProperty(hostileText, hostileJson, announced), { numRuns: 60 })
  await broker.expectUnharmed()
})
