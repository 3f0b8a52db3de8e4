/** The image as it is built: gateway, worker and a Redis with the configuration that ships, each a container. */
import { randomUUID } from 'node:crypto'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import {
  GenericContainer,
  Network,
  type StartedNetwork,
  type StartedTestContainer,
  Wait,
} from 'testcontainers'
import { projectRoot } from '../../dev/project-root.ts'
import { type Answer, call, expectProblem } from '../support/http.ts'
import { openViewer, type SeenEvent } from '../support/viewer.ts'
import { describeInDocker, docker } from './docker.ts'

const IMAGE = `millrace-test:${randomUUID()}`
const BUILD_TIMEOUT_MS = 600_000
const REDIS_CONF = '/usr/local/etc/redis/redis.conf'
/** A handler as a user writes one; the module is mounted and imports what the image has. */
const HANDLER = `
import { defineTask } from 'millrace/task'
import { z } from 'zod'

export default defineTask({
  type: 'greet',
  input: z.object({ name: z.string().min(1) }),
  run: async input => ({ greeting: 'Hello, ' + input.name }),
})
`

describeInDocker('the image', () => {
  const parts: { stop(): Promise<unknown> }[] = []
  let network: StartedNetwork
  let redis: StartedTestContainer
  let gateway: StartedTestContainer
  let url: string

  /** Remembers what was started, so that it is stopped whatever fails later. */
  async function keep<T extends { stop(): Promise<unknown> }>(start: Promise<T>): Promise<T> {
    const part = await start
    parts.push(part)
    return part
  }

  const containerOf = (command: string, env: Record<string, string> = {}) =>
    new GenericContainer(IMAGE)
      .withNetwork(network)
      .withEnvironment({ REDIS_URL: 'redis://redis:6379', MILLRACE_AUTH: 'off', ...env })
      .withCommand(['node', command])

  const workerOf = (env: Record<string, string> = {}) =>
    containerOf('dist/worker/main.js', env)
      .withExposedPorts(9465)
      .withWaitStrategy(Wait.forHttp('/health/ready', 9465))

  const submit = (type: string, input: unknown) => call(`${url}/v1/tasks`, { body: { type, input } })

  /** All events of a task, once its stream has ended. */
  async function eventsOf(task: Answer): Promise<SeenEvent[]> {
    const viewer = await openViewer(url + task.body.links.events)
    expect(await viewer.done).toBe('ended')
    return viewer.events
  }

  beforeAll(async () => {
    await GenericContainer.fromDockerfile(projectRoot()).withBuildkit().build(IMAGE, { deleteOnExit: false })
    network = await keep(new Network().start())
    redis = await keep(
      new GenericContainer('redis:8-alpine')
        .withNetwork(network)
        .withNetworkAliases('redis')
        .withCopyFilesToContainer([{ source: join(projectRoot(), 'deploy/redis.conf'), target: REDIS_CONF }])
        .withCommand(['redis-server', REDIS_CONF])
        .withWaitStrategy(Wait.forLogMessage('Ready to accept connections'))
        .start(),
    )
    gateway = await keep(
      containerOf('dist/gateway/main.js')
        .withExposedPorts(8080, 9464)
        .withWaitStrategy(
          Wait.forAll([Wait.forHttp('/health/ready', 8080), Wait.forHttp('/health/ready', 9464)]),
        )
        .start(),
    )
    url = `http://127.0.0.1:${gateway.getMappedPort(8080)}`
  }, BUILD_TIMEOUT_MS)

  afterAll(async () => {
    for (const part of parts.reverse()) await part.stop()
    await docker(['image', 'rm', '--force', IMAGE])
  })

  test('serves the pages', async () => {
    const page = await fetch(`${url}/`)
    expect(page.headers.get('content-type')).toContain('text/html')
  })

  test('runs as an ordinary user', async () => {
    expect((await gateway.exec(['id', '-u'])).output.trim()).toBe('1000')
  })

  test.each([
    ['maxmemory-policy', 'noeviction'],
    ['appendonly', 'yes'],
    ['appendfsync', 'everysec'],
    ['stream-node-max-bytes', '1024'],
    ['hash-max-listpack-value', '1024'],
  ])('comes with a Redis configuration whose %s is %s', async (name, value) => {
    const { output } = await redis.exec(['redis-cli', 'CONFIG', 'GET', name])
    expect(output.trim().split(/\s+/)).toEqual([name, value])
  })

  test('runs a task whose every event reaches the viewer, up to its completion', async () => {
    const worker = await workerOf().start()
    try {
      const task = await submit('countdown', { steps: 5, intervalMs: 50 })
      expect(task.status).toBe(202)
      const events = await eventsOf(task)
      expect(events.map(event => event.id.split('-')[1])).toEqual(events.map((_, index) => String(index + 1)))
      expect(events.at(-1)?.type).toBe('completed')
      expect(JSON.parse(events.at(-1)?.data ?? '')).toMatchObject({
        taskId: task.body.id,
        result: { steps: 5 },
      })
    } finally {
      await worker.stop()
    }
  })

  test('runs handlers that are mounted at /app/tasks', async () => {
    const worker = await workerOf({ MILLRACE_TASKS_DIR: '/app/tasks' })
      .withCopyContentToContainer([{ content: HANDLER, target: '/app/tasks/greet.mjs' }])
      .start()
    try {
      expectProblem(await submit('greet', { name: '' }), 422, 'invalid-input')
      const events = await eventsOf(await submit('greet', { name: 'Ada' }))
      expect(JSON.parse(events.at(-1)?.data ?? '')).toMatchObject({ result: { greeting: 'Hello, Ada' } })
    } finally {
      await worker.stop()
    }
  })
})
