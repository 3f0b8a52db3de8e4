// The http task on a real worker and a real Redis, against services that behave in every way.

import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { json, text } from 'node:stream/consumers'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { z } from 'zod'
import { parseHttpTargets } from '../../shared/http-targets.ts'
import type { TaskDefinition } from '../../worker/define-task.ts'
import { createTask } from '../../worker/tasks/http.ts'
import { type Broker, type Submission, startBroker, startTestWorker } from './worker-fixture.ts'

const NDJSON = { 'content-type': 'application/x-ndjson' }
const SSE = { 'content-type': 'text/event-stream; charset=utf-8' }

let broker: Broker
let worker: ReturnType<typeof startTestWorker>
let origin: string
let serve: (request: IncomingMessage, response: ServerResponse) => unknown
const server = createServer((request, response) => serve(request, response))

beforeAll(async () => {
  broker = await startBroker()
  await once(server.listen(0, '127.0.0.1'), 'listening')
  origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const task = createTask({ httpTargets: parseHttpTargets(`${origin}/jobs`) }) as TaskDefinition
  worker = startTestWorker(broker, [task])
})
afterAll(async () => {
  await worker.stop()
  server.close().closeAllConnections()
  await broker.close()
})

/** Submits a request to /jobs; resolves with the ended task and its events, those of its life left out. */
async function run(behaviour: typeof serve, input: object = {}, submission: Partial<Submission> = {}) {
  serve = behaviour
  const id = await broker.submit({
    type: 'http',
    input: { url: `${origin}/jobs`, ...input },
    ...submission,
  })
  const task = await broker.ended(id)
  const events = (await broker.events(id)).slice(2, -1)
  return {
    task,
    events: events.map(({ type, data: { taskId, attempt, time, ...data } }) => ({ type, ...data })),
  }
}

const answers = (status: number, headers: Record<string, string>, body: string) => {
  return (_request: IncomingMessage, response: ServerResponse) =>
    response.writeHead(status, headers).end(body)
}
/** A promise to resolve from elsewhere. */
function deferred<T>() {
  let resolve: (value: T) => void = () => undefined
  const promise = new Promise<T>(done => {
    resolve = done
  })
  return { promise, resolve }
}

const lines = (...all: unknown[]) => all.map(line => `${JSON.stringify(line)}\n`).join('')

describe('the request of an http task', () => {
  test('carries the body as JSON, the id of the task, the attempt and a key against doing it twice', async () => {
    const { task } = await run(
      async (request, response) => {
        const { method, url, headers } = request
        response.end(JSON.stringify({ method, url, headers, body: await json(request) }))
      },
      {
        url: `${origin}/jobs/resize?size=2`,
        headers: { 'X-Tenant': 'a', Authorization: 'Bearer b' },
        body: { width: 3 },
      },
    )
    expect(task).toMatchObject({
      state: 'completed',
      result: {
        method: 'POST',
        url: '/jobs/resize?size=2',
        headers: {
          'content-type': 'application/json',
          'millrace-task-id': task.id,
          'millrace-attempt': '1',
          'idempotency-key': task.id,
          'x-tenant': 'a',
          authorization: 'Bearer b',
        },
        body: { width: 3 },
      },
    })
  })

  test('takes another method, a text and its type, and sends nothing where there is no body', async () => {
    const echo: typeof serve = async (request, response) => {
      const { method, headers } = request
      response.end(JSON.stringify([method, headers['content-type'], await text(request)]))
    }
    const put = await run(echo, { method: 'PUT', headers: { 'content-type': 'text/csv' }, body: 'a,b' })
    expect(put.task.result).toEqual(['PUT', 'text/csv', 'a,b'])
    const get = await run(echo, { method: 'GET' })
    expect(get.task.result).toEqual(['GET', null, ''])
  })

  test('keeps its key over attempts and counts them', async () => {
    const seen: unknown[] = []
    const { task } = await run(
      ({ headers }, response) => {
        seen.push([headers['idempotency-key'], headers['millrace-attempt']])
        response.writeHead(seen.length === 1 ? 503 : 200).end('"done"')
      },
      {},
      { attempts: 2 },
    )
    expect(task).toMatchObject({ state: 'completed', attempt: 2, result: 'done' })
    expect(seen).toEqual([
      [task.id, '1'],
      [task.id, '2'],
    ])
  })

  const names = [
    'Host',
    'content-length',
    'CONNECTION',
    'Transfer-Encoding',
    'Millrace-Task-Id',
    'te',
    'Proxy-X',
  ]
  test.each([...names, 'bad name', 'x:y', ''])('does not let %j be set', name => {
    const { input } = createTask({ httpTargets: [] })
    const parsed = input?.safeParse({ url: origin, headers: { [name]: 'x' } })
    expect(parsed?.error?.issues.map(({ path }) => path)).toEqual([['headers', name]])
    const accepted = ['Hosted', 'Test', 'X-Host', 'Accept', 'Upgrade-Insecure-Requests', 'Cookie']
    for (const other of accepted)
      expect(input?.safeParse({ url: origin, headers: { [other]: 'x' } }).success).toBe(true)
  })

  test.each(['a\r\nHost: evil', 'a\nb', 'nul\0', '☃'])('does not let a header be %j', value => {
    const { input } = createTask({ httpTargets: [] })
    expect(input?.safeParse({ url: origin, headers: { 'x-a': value } }).success).toBe(false)
  })

  test('is described to gateways in full', () => {
    const schema = z.toJSONSchema(createTask({ httpTargets: [] }).input as z.ZodType, { io: 'input' })
    expect(schema).toMatchObject({
      additionalProperties: false,
      required: ['url'],
      properties: { headers: { propertyNames: { pattern: expect.stringContaining('[Hh][Oo][Ss][Tt]$') } } },
    })
  })

  test.each([
    ['outside the list', '/admin'],
    ['that leaves the prefix', '/jobs/..%2fadmin'],
  ])('to a path %s is not sent', async (_, path) => {
    let requests = 0
    const { task } = await run(() => requests++, { url: origin + path }, { attempts: 3 })
    expect(task).toMatchObject({
      state: 'failed',
      attempt: 1,
      error: { code: 'target-not-allowed', retryable: false },
    })
    expect(requests).toBe(0)
  })

  test('does not follow a redirect, which could lead out of the list', async () => {
    const { task } = await run(answers(307, { location: '/admin' }, ''), { body: 1 })
    expect(task).toMatchObject({ state: 'failed', error: { code: 'target-not-allowed' } })
  })
})

describe('a plain answer', () => {
  test.each([
    ['JSON', 200, 'application/json', '{"a":[1]}', { a: [1] }],
    ['JSON of another type', 201, 'application/vnd.x+json', ' "x" ', 'x'],
    ['JSON without its type', 200, 'text/plain', '7', 7],
    ['with a byte order mark', 200, 'application/json', '\ufeff7', 7],
    ['that is empty', 200, 'application/json', '', null],
    ['without content', 204, 'application/json', '', null],
  ])('%s is the result', async (_, status, type, body, result) => {
    const { task, events } = await run(answers(status, { 'content-type': type }, body))
    expect(task).toMatchObject({ state: 'completed', result })
    expect(events).toEqual([])
  })

  test.each([
    ['no JSON', 'text/html', '<p>hello', 'invalid-answer', /text\/html.*is not JSON: <p>hello/],
    ['too large', 'application/json', `"${'x'.repeat(1_200_000)}"`, 'result-too-large', /1114112 bytes/],
  ])('that is %s fails the task for good', async (_, type, body, code, message) => {
    const { task } = await run(answers(200, { 'content-type': type }, body), {}, { attempts: 3 })
    expect(task).toMatchObject({ state: 'failed', attempt: 1, error: { code, retryable: false } })
    expect(task.error?.message).toMatch(message)
  })

  test('that is compressed is refused', async () => {
    const { task } = await run(answers(200, { 'content-encoding': 'gzip' }, 'x'))
    expect(task.error).toMatchObject({ code: 'unsupported-encoding', retryable: false })
  })
})

describe('a refusal', () => {
  test.each([
    [400, false],
    [404, false],
    [409, false],
    [422, false],
    [408, true],
    [429, true],
    [500, true],
    [503, true],
  ])('with status %i is retryable: %s', async (status, retryable) => {
    const { task } = await run(answers(status, { 'content-type': 'application/json' }, '{"why":\n"x"}'))
    expect(task.error).toEqual({
      code: 'http-status',
      message: `${origin}/jobs answered ${status}: {"why": "x"}`,
      retryable,
    })
  })

  test('that never comes to its text counts by its status', async () => {
    const { task } = await run((_request, response) =>
      response.writeHead(400, { 'content-type': 'text/plain' }).flushHeaders(),
    )
    expect(task.error?.message).toBe(`${origin}/jobs answered 400`)
  })

  test.each([
    ['seconds', () => '30', 30_000],
    ['a date', () => new Date(Date.now() + 61_000).toUTCString(), 60_000],
    ['more than a day', () => '9999999', 24 * 60 * 60 * 1000],
  ])('with Retry-After in %s puts the next attempt off by that', async (_, value, atLeastMs) => {
    serve = (_request, response) => response.writeHead(429, { 'retry-after': value() }).end()
    const id = await broker.submit({ type: 'http', input: { url: `${origin}/jobs` }, attempts: 2 })
    const { data, time } = await broker.reached(id, 'retrying')
    const pauseMs = Date.parse(data.nextAttemptAt) - time
    expect(pauseMs).toBeGreaterThanOrEqual(atLeastMs - 1_000)
    expect(pauseMs).toBeLessThanOrEqual(atLeastMs + 1_000)
    await broker.queue.cancel(id)
  })

  test.each(['soon', '-5', '0', 'Wed, 21 Oct 2015 07:28:00 GMT'])(
    'with a Retry-After of %j keeps to the backoff',
    async value => {
      serve = (_request, response) => response.writeHead(503, { 'retry-after': value }).end()
      const backoff = { type: 'fixed', delayMs: 40_000 } as const
      const id = await broker.submit({ type: 'http', input: { url: `${origin}/jobs` }, attempts: 2, backoff })
      const { data, time } = await broker.reached(id, 'retrying')
      expect(Date.parse(data.nextAttemptAt) - time).toBe(40_000)
      await broker.queue.cancel(id)
    },
  )
})

describe('a streamed answer', () => {
  const said = [
    { type: 'log', message: 'begin', level: 'debug' },
    { type: 'progress', percent: 40, message: 'half', details: { n: 1 } },
    { type: 'output', chunk: { text: 'ä' } },
    { type: 'thumbnail', data: { ready: true } },
    { type: 'result', data: { ok: true } },
  ]
  const relayed = [
    { type: 'log', message: 'begin', level: 'debug' },
    { type: 'output', chunk: { text: 'ä' } },
    { type: 'thumbnail', data: { ready: true } },
    { type: 'progress', percent: 40, message: 'half', details: { n: 1 } },
  ]
  // Progress is recorded a moment after what follows it.
  const byType = (events: { type: string }[]) => events.toSorted((a, b) => (a.type < b.type ? -1 : 1))

  test.each([
    ['NDJSON', NDJSON, lines(...said)],
    [
      'NDJSON with blank lines, CRLF and no line end at its end',
      NDJSON,
      `\n${lines(...said)
        .replaceAll('\n', '\r\n\r\n')
        .trimEnd()}`,
    ],
    ['an event stream', SSE, said.map(line => `: hi\nid: 1\ndata: ${JSON.stringify(line)}\n\n`).join('')],
    [
      'an event stream with named events',
      SSE,
      said.map(({ type, ...rest }) => `event: ${type}\r\ndata: ${JSON.stringify(rest)}\r\n\r\n`).join(''),
    ],
  ])('as %s is relayed, however its bytes are cut', async (_, headers, body) => {
    const whole = await run(answers(200, headers, body))
    expect(whole.task).toMatchObject({ state: 'completed', result: { ok: true } })
    expect(byType(whole.events)).toEqual(byType(relayed))
    const cut = await run(async (_request, response) => {
      response.writeHead(200, headers)
      for (const byte of Buffer.from(body)) {
        response.write(Buffer.of(byte))
        await new Promise(setImmediate)
      }
      response.end()
    })
    expect(byType(cut.events)).toEqual(byType(relayed))
  })

  test('may have its fields beside the type', async () => {
    const { task, events } = await run(
      answers(
        200,
        NDJSON,
        lines({ type: 'bare' }, { type: 'thumbnail', ready: true }, { type: 'result', rows: 3 }),
      ),
    )
    expect(events).toEqual([
      { type: 'bare', data: null },
      { type: 'thumbnail', data: { ready: true } },
    ])
    expect(task.result).toEqual({ rows: 3 })
  })

  test('is relayed while it comes, not at its end', async () => {
    let goOn = () => {}
    serve = (_request, response) => {
      response.writeHead(200, NDJSON).write(lines({ type: 'output', chunk: 1 }))
      goOn = () => response.end(lines({ type: 'result', data: 2 }))
    }
    const id = await broker.submit({ type: 'http', input: { url: `${origin}/jobs` } })
    await broker.reached(id, 'output')
    goOn()
    expect(await broker.ended(id)).toMatchObject({ result: 2 })
  })

  test('ends with its result, whatever comes after', async () => {
    const { task, events } = await run(
      answers(200, NDJSON, lines({ type: 'result' }, { type: 'output', chunk: 'late' }, 'broken')),
    )
    expect(task).toMatchObject({ state: 'completed', result: null })
    expect(events).toEqual([])
  })

  test('lets a service end its answer in peace that takes a moment to do so', async () => {
    const ended = deferred<boolean>()
    await run((_request, response) => {
      response.on('close', () => ended.resolve(response.writableFinished))
      response
        .writeHead(200, NDJSON)
        .write(lines({ type: 'result' }), () => setTimeout(() => response.end(), 100))
    })
    expect(await ended.promise).toBe(true)
  })

  test('is let go of when the service goes on after the result', async () => {
    const closed = deferred<void>()
    const { task } = await run((_request, response) => {
      response.on('close', () => closed.resolve())
      response.writeHead(200, SSE).write(`data: ${JSON.stringify({ type: 'result', data: 1 })}\n\n`)
    })
    expect(task.result).toBe(1)
    await closed.promise
  })

  test.each([
    [{ message: 'no' }, { code: 'handler-error', message: 'no', retryable: true }],
    [
      { message: 'no', code: 'x', retryable: false },
      { code: 'x', message: 'no', retryable: false },
    ],
  ])('fails with what its error says: %j', async (said, error) => {
    const { task } = await run(answers(200, NDJSON, lines({ type: 'error', ...said })))
    expect(task).toMatchObject({ state: 'failed', error })
  })

  test.each([
    [
      'not JSON',
      '{"type":"log","message":"a"}\n{oops\n',
      'invalid-answer',
      'line 2 of the answer is not JSON: {oops',
    ],
    ['no object', '[1]\n', 'invalid-answer', 'line 1 of the answer is not a JSON object: [1]'],
    [
      'without a type',
      '{"percent":1}\n',
      'invalid-answer',
      'line 1 of the answer has no "type": {"percent":1}',
    ],
    [
      'a wrong percentage',
      '{"type":"progress","percent":"1"}\n',
      'invalid-answer',
      /^line 1 .*progress\): percent: /,
    ],
    ['a log without text', '{"type":"log"}\n', 'invalid-answer', /^line 1 .*log\): message: /],
    ['an output of nothing', '{"type":"output","data":1}\n', 'invalid-answer', /^line 1 .*output\): chunk: /],
    ['an error without text', '{"type":"error"}\n', 'invalid-answer', /^line 1 .*error\): message: /],
    [
      "the broker's own",
      '{"type":"completed"}\n',
      'invalid-event-type',
      /^line 1 of the answer: .*completed/,
    ],
    ['no name', '{"type":"No Name"}\n', 'invalid-event-type', /^line 1 of the answer: /],
    [
      'too large an event',
      lines({ type: 'output', chunk: 'x'.repeat(70_000) }),
      'event-too-large',
      /^line 1 of the answer: /,
    ],
    [
      'too long a line',
      `"${'x'.repeat(1_200_000)}`,
      'invalid-answer',
      'line 1 of the answer is longer than 1114112 characters',
    ],
  ])('with %s fails for good and says where', async (_, body, code, message) => {
    const { task } = await run(answers(200, NDJSON, body), {}, { attempts: 3 })
    expect(task).toMatchObject({ state: 'failed', attempt: 1, error: { code, retryable: false } })
    expect(task.error?.message).toMatch(message)
  })

  test.each([
    [
      'not JSON',
      'data: {"type":"log","message":"a"}\n\ndata: oops\n\n',
      'event 2 of the answer is not JSON: oops',
    ],
    ['too long', `data: ${'x'.repeat(1_200_000)}`, 'event 1 of the answer is longer than 1114112 characters'],
  ])('with an event that is %s fails for good and says where', async (_, body, message) => {
    const { task } = await run(answers(200, SSE, body), {}, { attempts: 3 })
    expect(task).toMatchObject({ attempt: 1, error: { code: 'invalid-answer', message, retryable: false } })
  })

  test.each([
    [
      'without a result',
      NDJSON,
      lines({ type: 'log', message: 'a' }),
      'the answer ended without a result or an error',
    ],
    ['in the middle of a line', NDJSON, '{"type":"resu', 'the answer broke off in line 1: {"type":"resu'],
    [
      'in the middle of an event',
      SSE,
      'data: {"type":"result"}\n',
      'the answer ended without a result or an error',
    ],
  ])('that ends %s is worth another attempt', async (_, headers, body, message) => {
    const { task } = await run(answers(200, headers, body))
    expect(task.error).toEqual({ code: 'no-result', message, retryable: true })
  })

  test('whose connection breaks is worth another attempt', async () => {
    const { task } = await run((_request, response) => {
      response.writeHead(200, NDJSON).write(lines({ type: 'log', message: 'a' }), () => response.destroy())
    })
    expect(task.error).toMatchObject({ code: 'target-unreachable', retryable: true })
  })
})

describe('the request is closed', () => {
  /** A service that never ends by itself; `closed` resolves when its client has gone. */
  function endless(answered: boolean) {
    const closed = deferred<void>()
    serve = (_request, response) => {
      response.on('close', () => closed.resolve())
      if (answered) response.writeHead(200, NDJSON).write(lines({ type: 'log', message: 'here' }))
    }
    return closed.promise
  }

  test.each([
    ['before the answer', false],
    ['in its middle', true],
  ])('when the task is cancelled %s', async (_, answered) => {
    const closed = endless(answered)
    const id = await broker.submit({ type: 'http', input: { url: `${origin}/jobs` } })
    await broker.reached(id, answered ? 'log' : 'started')
    await broker.queue.cancel(id)
    await closed
    expect(await broker.ended(id)).toMatchObject({ state: 'cancelled' })
  })

  test.each([
    ['before the answer', false],
    ['in its middle', true],
  ])('when the attempt is out of time %s', async (_, answered) => {
    const closed = endless(answered)
    const id = await broker.submit({ type: 'http', input: { url: `${origin}/jobs` }, timeoutMs: 300 })
    await closed
    expect(await broker.ended(id)).toMatchObject({
      state: 'failed',
      error: { code: 'timeout', retryable: true },
    })
  })

  test('when a line is wrong', async () => {
    const closed = deferred<void>()
    const { task } = await run((_request, response) => {
      response.on('close', () => closed.resolve())
      response.writeHead(200, NDJSON).write('oops\n')
    })
    expect(task.error?.code).toBe('invalid-answer')
    await closed.promise
  })
})
