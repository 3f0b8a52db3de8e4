// Whatever a handler, or a service that runs a task, says: the task ends once, its stream holds only its own events,
// and the worker goes on.

import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import fc from 'fast-check'
import { call } from '../support/http.ts'
import { until } from '../support/until.ts'
import type { SeenEvent } from '../support/viewer.ts'
import { type Broker, startBroker } from './broker.ts'
import { hostileJson, hostileText, quoted, sameJson } from './hostile-values.ts'

// No types are declared for what is not compiled.
const HOSTILE = './tasks/hostile.mjs'
const { VALUE_NAMES, WAY_NAMES } = (await import(HOSTILE)) as { VALUE_NAMES: string[]; WAY_NAMES: string[] }

const SECRET = `whsec_${Buffer.alloc(32, 1).toString('base64')}`
const OWN_TYPE = /^[a-z][a-z0-9-]{0,63}$/

/** Answers every connection with these bytes, whether they are HTTP or not. */
class Service {
  answer: Buffer = Buffer.alloc(0)
  answered = 0
  readonly #server: Server
  readonly #open = new Set<Socket>()

  constructor() {
    this.#server = createServer(socket => {
      this.#open.add(socket)
      socket.on('error', () => undefined)
      socket.once('data', () => {
        this.answered++
        socket.end(this.answer)
      })
      socket.once('close', () => this.#open.delete(socket))
    })
  }

  async start(): Promise<string> {
    await new Promise<void>(resolve => this.#server.listen(0, '127.0.0.1', resolve))
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  stop(): void {
    for (const socket of this.#open) socket.destroy()
    this.#server.close()
  }
}

const service = new Service()
let serviceUrl: string
let broker: Broker

beforeAll(async () => {
  serviceUrl = await service.start()
  broker = await startBroker({ MILLRACE_HTTP_TARGETS: serviceUrl, MILLRACE_WEBHOOK_SECRET: SECRET })
})
afterAll(async () => {
  service.stop()
  await broker?.close()
})

/** Resolves with the events of a new task, once it has ended. `input` is JSON text. */
async function run(type: string, input: string, more = ''): Promise<SeenEvent[]> {
  const task = await call(`${broker.url}/v1/tasks`, { body: `{"type":"${type}","input":${input}${more}}` })
  expect(task).toMatchObject({ status: 202 })
  const events = await broker.eventsOf(task.body.id)
  expect(events.map(({ id }) => id.split('-')[1])).toEqual(events.map((_, i) => String(i + 1)))
  expect(events.map(({ type }) => type).filter(type => !OWN_TYPE.test(type))).toEqual([])
  for (const { data } of events) expect(JSON.parse(data)).toMatchObject({ taskId: task.body.id })
  // The record, a page of all tasks and the history of its events hold it too.
  const pages = [
    await call(`${broker.url}/v1/tasks/${task.body.id}`),
    await call(`${broker.url}/v1/tasks?limit=2`),
    await call(`${broker.url}/v1/tasks/${task.body.id}/events`, { headers: { Accept: 'application/json' } }),
  ]
  for (const { status } of pages) expect(status).toBe(200)
  expect(pages[0]?.body.state).toBe(events.at(-1)?.type)
  return events
}

describe.each(['echo', 'echo-in-thread'])('%s', type => {
  test('says any input again as it came, as every kind of event and as the result', async () => {
    const roundTrip = async (input: string): Promise<void> => {
      const events = await run(type, input)
      expect(events.map(({ type }) => type)).toEqual([
        'queued',
        'started',
        'output',
        'own',
        'log',
        'progress',
        'completed',
      ])
      const [, , output, own, log, progress, completed] = events.map(({ data }) => JSON.parse(data))
      const wanted = sameJson(input)
      const said = [output.chunk, own.data, progress.details, completed.result].map(value =>
        JSON.stringify(value),
      )
      expect(said).toEqual([wanted, wanted, wanted, wanted])
      expect([log.message, progress.message]).toEqual([wanted, wanted])
    }
    await fc.assert(fc.asyncProperty(hostileJson, roundTrip), { numRuns: 25 })
    await broker.expectUnharmed()
  })
})

describe.each(['hostile', 'hostile-in-thread'])('%s', type => {
  test.each(WAY_NAMES)('ends whatever it has to say by `%s`', async way => {
    const ended = await Promise.all(VALUE_NAMES.map(value => run(type, JSON.stringify({ value, way }))))
    for (const events of ended) expect(['completed', 'failed']).toContain(events.at(-1)?.type)
    await broker.expectUnharmed()
  })
})

const line = fc.oneof(
  fc
    .tuple(
      fc.oneof(
        fc.constantFrom('progress', 'log', 'output', 'result', 'error', 'own', 'completed', 'gap'),
        hostileText,
      ),
      fc.array(
        fc.tuple(
          fc.constantFrom('percent', 'message', 'details', 'chunk', 'code', 'level', 'data'),
          hostileJson,
        ),
        {
          maxLength: 3,
        },
      ),
    )
    .map(([type, members]) => {
      const fields: (readonly [string, string])[] = [['type', quoted(type)], ...members]
      return `{${fields.map(([name, json]) => `${quoted(name)}:${json}`).join()}}`
    }),
  hostileJson,
  hostileText,
  fc.constantFrom(
    '['.repeat(10_000) + ']'.repeat(10_000),
    `{"type":"output","chunk":${'['.repeat(10_000)}${']'.repeat(10_000)}}`,
  ),
)

const body = fc.oneof(
  fc.tuple(
    fc.constant('application/x-ndjson'),
    fc.array(line, { maxLength: 4 }).map(lines => `${lines.join('\n')}\n`),
  ),
  fc.tuple(
    fc.constant('text/event-stream'),
    fc
      .array(fc.tuple(hostileText, line), { maxLength: 4 })
      .map(events => events.map(([name, data]) => `event: ${name}\ndata: ${data}\n\n`).join('')),
  ),
  fc.tuple(fc.constant('application/json'), line),
  fc.tuple(hostileText, hostileText),
)

const answer = fc
  .tuple(
    fc.oneof(
      { weight: 6, arbitrary: fc.constant('200 OK') },
      fc.constantFrom('410 Gone', '302 Found', '500 Oops', '204 No Content'),
      hostileText,
    ),
    fc.array(
      fc.tuple(fc.constantFrom('Location', 'Retry-After', 'Content-Encoding', 'X-Injected'), hostileText),
      { maxLength: 1 },
    ),
    body,
  )
  .map(([status, headers, [type, text]]) => {
    const lines = headers.map(([name, value]) => `${name}: ${value}\r\n`).join('')
    return Buffer.from(
      `HTTP/1.1 ${status}\r\nContent-Type: ${type}\r\n${lines}Connection: close\r\n\r\n${text}`,
    )
  })

test('http ends whatever a service answers', async () => {
  const relayed = async (bytes: Buffer): Promise<void> => {
    service.answer = bytes
    const events = await run('http', `{"url":"${serviceUrl}"}`, ',"attempts":1')
    expect(['completed', 'failed']).toContain(events.at(-1)?.type)
  }
  await fc.assert(fc.asyncProperty(answer, relayed), { numRuns: 60 })
  await broker.expectUnharmed()
})

test('a receiver of callbacks can answer what it likes', async () => {
  const delivered = async (bytes: Buffer): Promise<void> => {
    service.answer = bytes
    const { answered } = service
    await run('echo', '1', `,"callbackUrl":"${serviceUrl}"`)
    await until('a callback is answered', () => service.answered > answered)
  }
  await fc.assert(fc.asyncProperty(answer, delivered), { numRuns: 25 })
  await broker.expectUnharmed()
})
