/** docker-compose.yml brought up as it stands, with more gateways and workers, behind its load balancer. */
import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { freePort } from '../../dev/free-port.ts'
import { type Answer, call, expectProblem } from '../support/http.ts'
import { until } from '../support/until.ts'
import { openViewer, type Viewer } from '../support/viewer.ts'
import { describeInDocker, docker } from './docker.ts'

const UP_TIMEOUT_MS = 600_000
const DOWN_TIMEOUT_MS = 60_000
/** More than a test here ever asks for. */
const RATE_LIMIT = 100_000
const SCALE = ['--scale', 'gateway=3', '--scale', 'worker=3']

describeInDocker(`docker compose up ${SCALE.join(' ')}`, () => {
  const project = `millrace-test-${randomUUID().slice(0, 8)}`
  let port: number
  let url: string

  const compose = (...args: string[]) =>
    docker(['compose', '--project-name', project, ...args], {
      env: { ...process.env, MILLRACE_PORT: String(port), MILLRACE_RATE_LIMIT: String(RATE_LIMIT) },
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

  async function submit(steps: number, intervalMs: number): Promise<Answer> {
    const task = await call(`${url}/v1/tasks`, { body: { type: 'countdown', input: { steps, intervalMs } } })
    expect(task).toMatchObject({ status: 202 })
    return task
  }

  const watch = (task: Answer) => openViewer(url + task.body.links.events)

  /** Of one viewer, whatever connections it needed. */
  function expectAll(viewer: Viewer, steps: number) {
    expect(viewer.events.map(({ id }) => id.split('-')[1])).toEqual(
      viewer.events.map((_, index) => String(index + 1)),
    )
    expect(viewer.data('completed')).toMatchObject([{ result: { steps } }])
  }

  beforeAll(async () => {
    port = await freePort()
    url = `http://127.0.0.1:${port}`
    await compose('up', '--detach', '--build', '--wait', ...SCALE).catch(async error => {
      const state = await compose('ps', '--all')
      throw new Error(`${error.message}\n${state}\n${await compose('logs', '--tail', '20')}`, {
        cause: error,
      })
    })
  }, UP_TIMEOUT_MS)

  afterAll(async () => {
    await compose('down', '--volumes', '--rmi', 'local', '--timeout', '10')
  }, DOWN_TIMEOUT_MS)

  test('runs three of each, reached at one port of the loopback address', async () => {
    expect(await containersOf('gateway')).toHaveLength(3)
    expect(await containersOf('worker')).toHaveLength(3)
    expect((await compose('port', 'lb', '8080')).trim()).toBe(`127.0.0.1:${port}`)
  })

  test('counts the requests of a client, whatever it says of its address', async () => {
    const left = async (address: string) => {
      const { headers } = await call(`${url}/v1/task-types`, { headers: { 'X-Forwarded-For': address } })
      return /r=(\d+)/.exec(headers.get('ratelimit') ?? '')?.[1]
    }
    await until('a second in which all of them come', async () => {
      const answers = await Promise.all(['198.51.100.1', '198.51.100.2', '198.51.100.3'].map(left))
      return answers.includes(String(RATE_LIMIT - 3))
    })
  })

  test.each(['lb', 'gateway', 'worker', 'redis'])(
    'runs %s as an ordinary user without any rights of root, on files that it can not change',
    async service => {
      const look = 'id -u; grep -E "^(CapEff|CapBnd|NoNewPrivs):" /proc/1/status; touch /x /usr/x 2>&1; true'
      const [container = ''] = await containersOf(service)
      const [user, ...lines] = (await docker(['exec', container, 'sh', '-c', look])).trim().split('\n')
      expect(Number(user)).toBeGreaterThan(0)
      expect(lines.map(line => line.replace(/\s+/g, ' '))).toEqual([
        'CapEff: 0000000000000000',
        'CapBnd: 0000000000000000',
        'NoNewPrivs: 1',
        expect.stringContaining('Read-only file system'),
        expect.stringContaining('Read-only file system'),
      ])
    },
  )

  test('keeps Redis to those who need it and know its password', async () => {
    const ask = (service: string, command: string) => compose('exec', '-T', service, 'sh', '-c', command)
    expect(await ask('redis', 'redis-cli ping')).toContain('PONG')
    expect(await ask('redis', 'unset REDISCLI_AUTH; redis-cli ping 2>&1')).toContain('NOAUTH')
    expect(await ask('redis', 'REDISCLI_AUTH=wrong redis-cli ping 2>&1')).toContain('NOAUTH')
    const [container = ''] = await containersOf('redis')
    expect((await docker(['port', container])).trim()).toBe('')
    const reached = (service: string) =>
      ask(service, 'getent hosts redis >/dev/null && echo reached || echo unknown')
    expect((await reached('gateway')).trim()).toBe('reached')
    expect((await reached('lb')).trim()).toBe('unknown')
  })

  test('resumes a stream on another gateway when the one that serves it is killed', async () => {
    const task = await submit(40, 250)
    const viewer = await watch(task)
    await viewer.until(({ events }) => events.length >= 4)
    await docker(['kill', await gatewayThatStreams()])
    expect(await viewer.done).toBe('broken')

    await viewer.connect(url + task.body.links.events)
    expect(await viewer.done).toBe('ended')
    expectAll(viewer, 40)
  })

  test('lets a viewer wait for Redis, but refuses other requests with the reason', async () => {
    const task = await submit(2, 50)
    await compose('stop', 'redis')
    await until('the load balancer sees no ready gateway', async () => {
      const log = await compose('logs', 'lb')
      return (
        /requests\/gateway\d+ is DOWN.* 0 active/.test(log) &&
        /streams\/gateway\d+ is DOWN.* 0 active/.test(log)
      )
    })

    expectProblem(await call(url + task.body.links.self), 503, 'redis-unavailable')
    const viewer = await watch(task)
    expect(viewer.status).toBe(200)

    await compose('start', 'redis')
    expect(await viewer.done).toBe('ended')
    expectAll(viewer, 2)
  })
})
