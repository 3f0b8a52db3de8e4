// A gateway, a worker and their Redis, and whether all of it is as it should be after what was done to it.

import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { expect } from '@jest/globals'
import { Redis } from 'ioredis'
import { projectRoot } from '../../dev/project-root.ts'
import { call } from '../support/http.ts'
import { startGateway, startWorker, type TestGateway, type TestProcess } from '../support/processes.ts'
import { startRedis } from '../support/redis.ts'
import { until } from '../support/until.ts'
import { openViewer, type SeenEvent } from '../support/viewer.ts'
import { undocumentedKeys } from './documented-keys.ts'

const FOLDER = join(projectRoot(), 'test/injection')
const WATCH = `--import=${pathToFileURL(join(FOLDER, 'prototype-watch.mjs')).href}`

export interface Broker {
  readonly url: string
  readonly redisUrl: string
  readonly redis: Redis
  /** Resolves with the events of a task that was accepted, once it has ended. */
  eventsOf(taskId: string): Promise<SeenEvent[]>
  /** Both processes live and answer, their prototypes are their own, their logs are lines of JSON, no key is foreign. */
  expectUnharmed(): Promise<void>
  close(): Promise<void>
}

/** `env` is that of both processes. */
export async function startBroker(env: Record<string, string> = {}): Promise<Broker> {
  const server = await startRedis({ appendFsync: 'everysec' })
  const redis = new Redis(server.url)
  const options = {
    redisUrl: server.url,
    env: { MILLRACE_TASKS_DIR: join(FOLDER, 'tasks'), NODE_OPTIONS: WATCH, ...env },
  }
  const [gateway, worker] = await Promise.all([startGateway(options), startWorker(options)])
  const eventsOf = async (taskId: string) => {
    const viewer = await openViewer(`${gateway.url}/v1/tasks/${taskId}/events`)
    expect(await viewer.done).toBe('ended')
    expectOnlyFrames(viewer.raw, viewer.events)
    return viewer.events
  }
  return {
    url: gateway.url,
    redisUrl: server.url,
    redis,
    eventsOf,
    async expectUnharmed() {
      const task = await call(`${gateway.url}/v1/tasks`, { body: { type: 'echo', input: 'well' } })
      expect((await eventsOf(task.body.id)).at(-1)?.type).toBe('completed')
      expect(await changedPrototypes(gateway)).toEqual([])
      expect(await changedPrototypes(worker)).toEqual([])
      expectJsonLines(gateway)
      expectJsonLines(worker)
      expect(undocumentedKeys(await redis.keys('*'))).toEqual([])
      expect(undocumentedKeys(await redis.pubsub('CHANNELS', '*').then(names => names as string[]))).toEqual(
        [],
      )
    },
    async close() {
      redis.disconnect()
      await Promise.all([gateway.kill(), worker.kill()])
      await server.close()
    },
  }
}

/** Each line of a stream is one of a frame, and there are no more frames than were dispatched. */
export function expectOnlyFrames(raw: string, events: readonly SeenEvent[]): void {
  const lines = raw.split(/\r\n|\r|\n/)
  expect(
    lines.filter(line => !/^(?:(?:id|event|data): .*|retry: 2000|:(?: millrace)?)?$/su.test(line)),
  ).toEqual([])
  expect(lines.filter(line => line.startsWith('id: '))).toHaveLength(events.length)
}

async function changedPrototypes(target: TestGateway | TestProcess): Promise<string[]> {
  const before = target.output().length
  process.kill(target.pid, 'SIGUSR2')
  const answer = await until('its prototypes are told', () =>
    /^\{"changedPrototypes":(.*)\}$/m.exec(target.output().slice(before)),
  )
  return JSON.parse(answer[1] ?? '') as string[]
}

/** So nothing that came from outside began a line of its own. */
function expectJsonLines(target: TestProcess): void {
  for (const line of target.output().split('\n'))
    if (line !== '') expect(JSON.parse(line)).toBeInstanceOf(Object)
}
