/** docker-compose.yml brought up as it stands, with more gateways and workers, behind its load balancer. */
import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { freePort } from '../../dev/free-port.ts'
import { docker, missingDocker } from './docker.ts'
import { type ReceivedEvent, readEvents } from './event-stream.ts'

const UP_TIMEOUT_MS = 600_000
const DOWN_TIMEOUT_MS = 60_000
const SCALE = ['--scale', 'gateway=3', '--scale', 'worker=3']

const missing = await missingDocker()
const withDocker = missing ? describe.skip : describe

withDocker(`docker compose up ${SCALE.join(' ')}${missing ? ` (skipped: ${missing})` : ''}`, () => {
  const project = `millrace-test-${randomUUID().slice(0, 8)}`
  let port: number
  let url: string

  const compose = (...args: string[]) =>
    docker(['compose', '--project-name', project, ...args], {
      env: { ...process.env, MILLRACE_PORT: String(port) },
    })

  async function containersOf(service: string): Promise<string[]> {
    return (await compose('ps', '--quiet', service)).trim().split('\n')
  }

  /** What the metric of one gateway says, asked in its container. */
  async function openStreams(container: string): Promise<number> {
    const read = `fetch('http://127.0.0.1:9464/metrics').then(r => r.text()).then(t => console.log(t))`
    const metrics = await docker(['exec', container, 'node', '-e', read])
    return Number(/^millrace_sse_connections(?:\{.*\})? (\d+)$/m.exec(metrics)?.[1])
  }

  async function gatewayThatStreams(): Promise<string> {
    const gateways = await containersOf('gateway')
    const streams = await Promise.all(gateways.map(openStreams))
    expect(streams.toSorted()).toEqual([0, 0, 1])
    return gateways[streams.indexOf(1)] as string
  }

  async function submit(input: { steps: number; intervalMs: number }) {
    const response = await fetch(`${url}/v1/tasks`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ type: 'countdown', input }),
    })
    expect(response.status).toBe(202)
    return (await response.json()) as { id: string; links: { self: string; events: string } }
  }

  beforeAll(async () => {
    port = await freePort()
    url = `http://127.0.0.1:${port}`
    await compose('up', '--detach', '--build', '--wait', ...SCALE)
  }, UP_TIMEOUT_MS)

  afterAll(async () => {
    await compose('down', '--volumes', '--remove-orphans', '--timeout', '10')
  }, DOWN_TIMEOUT_MS)

  test('runs three of each, reached at one port of the loopback address', async () => {
    expect(await containersOf('gateway')).toHaveLength(3)
    expect(await containersOf('worker')).toHaveLength(3)
    expect((await compose('port', 'lb', '8080')).trim()).toBe(`127.0.0.1:${port}`)
  })

  test('holds an answer back until the task has ended', async () => {
    const { links } = await submit({ steps: 4, intervalMs: 500 })
    const response = await fetch(url + links.self, { headers: { Prefer: 'wait=30' } })
    expect(await response.json()).toMatchObject({ state: 'completed', result: { steps: 4 } })
  })

  test('resumes a stream on another gateway when the one that serves it is killed', async () => {
    const { links } = await submit({ steps: 40, intervalMs: 250 })
    const seen: ReceivedEvent[] = []
    let killed: string | undefined
    const cutOff = async () => {
      for await (const event of readEvents(url + links.events)) {
        seen.push(event)
        if (seen.length < 4 || killed) continue
        killed = await gatewayThatStreams()
        await docker(['kill', killed])
      }
    }
    await expect(cutOff()).rejects.toThrow()

    const lastEventId = seen.at(-1)?.id as string
    for await (const event of readEvents(url + links.events, { lastEventId })) seen.push(event)
    expect(seen.map(event => event.id.split('-')[1])).toEqual(seen.map((_, index) => String(index + 1)))
    expect(seen.at(-1)).toMatchObject({ type: 'completed', data: { result: { steps: 40 } } })
  })
})
