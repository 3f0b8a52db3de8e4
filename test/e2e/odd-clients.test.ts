// Clients that do with a streaming connection what browsers don't.

import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { Redis } from 'ioredis'
import { RedisEventLog } from '../../shared/redis-event-log.ts'
import { startGateway, type TestGateway } from '../support/processes.ts'
import { startRedis, type TestRedis } from '../support/redis.ts'
import { until } from '../support/until.ts'

let server: TestRedis
let gateway: TestGateway

beforeAll(async () => {
  server = await startRedis()
  gateway = await startGateway({ redisUrl: server.url, env: { MILLRACE_HEARTBEAT_MS: '100' } })
})

afterAll(async () => {
  await gateway.stop()
  await server.close()
})

class RawClient {
  text = ''
  readonly socket: Socket
  #more: (() => void)[] = []

  constructor() {
    this.socket = connect({ port: Number(new URL(gateway.url).port), host: '127.0.0.1', allowHalfOpen: true })
    this.socket.setEncoding('utf8')
    this.socket.on('error', () => undefined)
    this.socket.on('data', text => {
      this.text += text
      for (const resolve of this.#more.splice(0)) resolve()
    })
  }

  send(text: string): void {
    this.socket.write(text)
  }

  async until(condition: (text: string) => boolean): Promise<void> {
    while (!condition(this.text)) await new Promise<void>(resolve => this.#more.push(resolve))
  }
}

const request = (path: string, version = '1.1', headers = ''): string =>
  `GET ${path} HTTP/${version}\r\nHost: x\r\nAccept: text/event-stream\r\n${headers}\r\n`
const streamPath = (channel = randomUUID()): string => `/v1/channels/${channel}/events?from=earliest`

async function publish(channel: string, data: unknown): Promise<void> {
  const response = await fetch(`${gateway.url}/v1/channels/${channel}/events`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ data }),
  })
  expect(response.status).toBe(201)
}

async function endedTask(): Promise<string> {
  const redis = new Redis(server.url)
  const retention = { channels: { maxEvents: 10, ttlMs: 60_000 }, taskMaxEvents: 10 }
  const event = { type: 'completed', time: Date.now(), format: 'json' as const, data: '{}' }
  const id = randomUUID()
  const write = { from: [], set: { id, state: 'completed' } }
  await new RedisEventLog(redis, retention).appendToTask(id, [event], write)
  redis.disconnect()
  return id
}

async function openStreams(): Promise<number> {
  const metrics = await (await fetch(`${gateway.opsUrl}/metrics`)).text()
  return Number(/^millrace_sse_connections (\d+)$/m.exec(metrics)?.[1])
}

const noStreamsLeft = () => until('no stream is left', async () => (await openStreams()) === 0)

describe('a streaming connection', () => {
  test('goes on and answers nothing else when further requests are sent on it', async () => {
    const channel = randomUUID()
    const client = new RawClient()
    client.send(request(streamPath(channel)))
    await client.until(text => text.includes('retry: '))
    client.send(request('/health/live') + request(streamPath()))
    await publish(channel, 'after')
    await client.until(text => text.includes('"after"'))
    expect(client.text.match(/HTTP\/1\.1/g)).toHaveLength(1)
    client.socket.destroy()
    await noStreamsLeft()
  })

  test('takes a stream that was asked for together with other requests, before and behind it', async () => {
    const channel = randomUUID()
    const client = new RawClient()
    client.send(
      request('/health/live') +
        request(streamPath(channel)) +
        request('/health/live') +
        request(streamPath()),
    )
    await client.until(text => text.includes('retry: '))
    await publish(channel, 'seen')
    await client.until(text => text.includes('"seen"'))
    expect(client.text.match(/HTTP\/1\.1 200/g)).toHaveLength(2)
    client.socket.destroy()
    await noStreamsLeft()
  })

  test('ends when its client closes its side', async () => {
    const client = new RawClient()
    client.send(request(streamPath()))
    await client.until(text => text.includes('retry: '))
    const ended = once(client.socket, 'end')
    client.socket.end()
    await ended
    client.socket.destroy()
    await noStreamsLeft()
  })

  test('is closed after its end although its client keeps its own side open', async () => {
    const client = new RawClient()
    const ended = once(client.socket, 'end')
    client.send(request(`/v1/tasks/${await endedTask()}/events`))
    await ended
    await until('the gateway refuses further bytes', () => {
      client.send('x')
      return client.socket.destroyed
    })
  })

  test('is let go when its client breaks it off, at whatever moment', async () => {
    const clients = Array.from({ length: 200 }, (_, i) => {
      const client = new RawClient()
      client.send(request(streamPath()))
      if (i % 4 === 0) client.socket.once('connect', () => client.socket.resetAndDestroy())
      else if (i % 4 === 1) client.socket.once('data', () => client.socket.resetAndDestroy())
      else if (i % 4 === 2) client.socket.once('connect', () => client.socket.end())
      else client.socket.once('data', () => client.socket.destroy())
      return client
    })
    await Promise.all(
      clients.map(
        ({ socket }) =>
          socket.closed ||
          once(
            socket.on('end', () => socket.destroy()),
            'close',
          ),
      ),
    )
    await noStreamsLeft()
    expect((await fetch(`${gateway.url}/health/live`)).status).toBe(200)
  })

  test('swallows a body that its request should not have', async () => {
    const channel = randomUUID()
    const client = new RawClient()
    client.send(request(streamPath(channel), '1.1', 'Content-Length: 100000\r\n'))
    client.send('x'.repeat(50_000))
    await client.until(text => text.includes('retry: '))
    client.send('x'.repeat(50_000))
    await publish(channel, 'still here')
    await client.until(text => text.includes('still here'))
    client.socket.destroy()
    await noStreamsLeft()
  })

  test('of HTTP/1.0 gets the stream without chunks', async () => {
    const channel = randomUUID()
    const client = new RawClient()
    client.send(request(streamPath(channel), '1.0'))
    await client.until(text => text.includes('retry: '))
    await publish(channel, 'old')
    await client.until(text => text.includes('"old"'))
    const [head = '', body = ''] = client.text.split(/\r\n\r\n(.*)/s)
    expect(head).not.toMatch(/transfer-encoding/i)
    expect(body).toMatch(/^retry: 2000\n: millrace\n\nid: /)
    client.socket.destroy()
    await noStreamsLeft()
  })

  test('of HTTP/1.1 is well-formed to its end', async () => {
    const { pid } = gateway
    const other = await startGateway({ redisUrl: server.url, env: { MILLRACE_DRAIN_MS: '0' } })
    expect(other.pid).not.toBe(pid)
    const response = await fetch(`${other.url}${streamPath()}`)
    const text = response.text()
    await other.stop()
    // fetch rejects a chunked body that breaks off.
    expect(await text).toMatch(/retry: \d+\n\n$/)
  })

  test('asked for by HEAD gets the head alone', async () => {
    const response = await fetch(`${gateway.url}${streamPath()}`, { method: 'HEAD' })
    expect(response.status).toBe(200)
    expect(response.headers.get('content-type')).toBe('text/event-stream')
    await noStreamsLeft()
  })
})
