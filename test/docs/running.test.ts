// What the documentation says about running processes, looked up on real ones.

import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { call } from '../support/http.ts'
import { startGateway, startWorker, type TestGateway, type TestProcess } from '../support/processes.ts'
import { startRedis, type TestRedis } from '../support/redis.ts'
import { openViewer } from '../support/viewer.ts'
import { fencedBlocks, readPage } from './pages.ts'

let redis: TestRedis
let folder: string
let gateway: TestGateway
let worker: TestProcess

beforeAll(async () => {
  redis = await startRedis()
  folder = await mkdtemp(join(tmpdir(), 'millrace-docs-'))
  const pages = ['README.md', 'docs/handlers.md'].map(readPage)
  const handlers = pages
    .flatMap(page => fencedBlocks(page, 'js'))
    .filter(code => code.includes('export default'))
  await Promise.all(handlers.map((code, i) => writeFile(join(folder, `handler-${i}.mjs`), code)))
  gateway = await startGateway({ redisUrl: redis.url })
  worker = await startWorker({ redisUrl: redis.url, env: { MILLRACE_TASKS_DIR: folder } })
})

afterAll(async () => {
  await Promise.all([gateway?.stop(), worker?.stop()])
  await redis?.close()
  await rm(folder, { recursive: true, force: true })
})

test.each([
  ['README.md', 'greet', { name: 'Ada' }, { text: 'Hello, Ada' }],
  ['docs/handlers.md', 'word-count', { text: 'one two\nthree' }, { words: 3 }],
])('the handler in %s runs as it says', async (_, type, input, result) => {
  const task = await call(`${gateway.url}/v1/tasks`, { body: { type, input } })
  expect(task).toMatchObject({ status: 202 })
  const viewer = await openViewer(gateway.url + task.body.links.events)
  expect(await viewer.done).toBe('ended')
  expect(viewer.data('completed')).toMatchObject([{ result }])
})

test('docs/operations.md lists every metric of gateway and worker, and no other', async () => {
  const texts = await Promise.all(
    [gateway, worker].map(async ({ opsUrl }) => (await call(`${opsUrl}/metrics`)).text),
  )
  const served = texts.flatMap(text =>
    [...text.matchAll(/^# TYPE (millrace_\w+) (\w+)$/gm)].map(([, name, type]) => `${name} ${type}`),
  )
  const listed = [...readPage('docs/operations.md').text.matchAll(/^\| `(millrace_\w+)` +\| (\w+)/gm)].map(
    ([, name, type]) => `${name} ${type}`,
  )
  expect(listed.toSorted()).toEqual([...new Set(served)].toSorted())
})
