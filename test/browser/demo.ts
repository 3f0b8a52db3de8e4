// The whole of Millrace with its demo feeds, for tests of the pages that show them.

import { startGateway, startWorker, type TestGateway } from '../support/processes.ts'
import { startRedis, type TestRedis } from '../support/redis.ts'

export interface Demo {
  readonly redis: TestRedis
  readonly gateway: TestGateway
  /** One more gateway on the same Redis. */
  anotherGateway(): Promise<TestGateway>
}

export async function startDemo(): Promise<Demo> {
  const redis = await startRedis()
  const options = { redisUrl: redis.url, env: { MILLRACE_DEMO: 'on' } }
  await startWorker(options)
  return { redis, gateway: await startGateway(options), anotherGateway: () => startGateway(options) }
}

/** Publishes as anybody may. */
export async function publish(
  gateway: TestGateway,
  channel: string,
  event: { type?: string; data: unknown },
): Promise<void> {
  const response = await fetch(`${gateway.url}/v1/channels/${channel}/events`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify(event),
  })
  if (!response.ok) throw new Error(`not published: ${response.status} ${await response.text()}`)
}

/** The number of a channel's last event, as a gateway tells it; 0 before the first. */
export async function lastNumber(gateway: TestGateway, channel: string): Promise<number> {
  const response = await fetch(`${gateway.url}/v1/channels/${channel}/events?limit=1000`, {
    headers: { Accept: 'application/json' },
  })
  const { events } = (await response.json()) as { events: { id: string }[] }
  return Number(events.at(-1)?.id.split('-')[1] ?? 0)
}
