import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { afterEach, describe, expect, test } from '@jest/globals'
import Koa from 'koa'
import { readJson } from '../../../gateway/http/request-body.ts'
import { GatewayServer, SERVER_LIMITS } from '../../../gateway/server.ts'
import { Connection } from '../../../gateway/stream/connection.ts'
import { singleCursor } from '../../../gateway/stream/cursor.ts'
import { takeOver } from '../../../gateway/stream/take-over.ts'
import { until } from '../../support/until.ts'

const QUICK = {
  ...SERVER_LIMITS,
  headersTimeoutMs: 200,
  requestTimeoutMs: 200,
  checkIntervalMs: 50,
  finishMs: 300,
}

const servers: GatewayServer[] = []

async function serve(app: Koa, limits = QUICK): Promise<string> {
  const server = new GatewayServer(app, limits)
  servers.push(server)
  return server.start({ host: '127.0.0.1', port: 0 })
}

afterEach(async () => {
  for (const server of servers.splice(0)) {
    await server.stopAccepting()
    await server.finish()
  }
})

function echo(): Koa {
  const app = new Koa().use(async ctx => {
    ctx.body = ctx.method === 'POST' ? await readJson(ctx) : 'hello'
  })
  app.silent = true
  return app
}

async function send(url: string, text: string): Promise<Socket> {
  const socket = connect(Number(new URL(url).port), '127.0.0.1')
  await once(socket, 'connect')
  socket.write(text)
  return socket
}

/** Everything that comes until the other side closes. */
async function readToEnd(socket: Socket): Promise<string> {
  let text = ''
  socket.on('data', chunk => {
    text += chunk
  })
  await once(socket, 'close')
  return text
}

describe('an unfinished request is closed', () => {
  test('in the middle of its headers', async () => {
    const socket = await send(await serve(echo()), 'GET / HTTP/1.1\r\nHost: a\r\nX-Half: ')
    expect(await readToEnd(socket)).toMatch(/^HTTP\/1.1 408 .*"code":"request-timeout"/s)
  })

  test('before its first byte', async () => {
    expect(await readToEnd(await send(await serve(echo()), ''))).toMatch(/^HTTP\/1.1 408 /)
  })

  test('in the middle of its body', async () => {
    const socket = await send(
      await serve(echo()),
      'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n{"half": ',
    )
    expect(await readToEnd(socket)).toMatch(/^HTTP\/1.1 408 .*"code":"request-timeout"/s)
  })

  test.each([
    ['headers', 'GET / HTTP/1.1\r\nHost: a\r\nX: '],
    ['body', 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n'],
    ['chunks', 'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nfff\r\n'],
  ])('though a byte of its %s comes now and then', async (_, begin) => {
    const socket = await send(await serve(echo()), begin)
    socket.on('error', () => undefined)
    const drip = setInterval(() => socket.write('x'), 20)
    await readToEnd(socket)
    clearInterval(drip)
  })
})

describe('what is not HTTP is refused and closed', () => {
  test.each([
    ['nonsense', 'hello there\r\n\r\n', 400, 'invalid-request'],
    ['a header without a name', 'GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n', 400, 'invalid-request'],
    [
      'two lengths',
      'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n',
      400,
      'invalid-request',
    ],
    [
      'more headers than a client has',
      `GET / HTTP/1.1\r\nHost: a\r\n${'X: y\r\n'.repeat(100)}\r\n`,
      431,
      'headers-too-large',
    ],
    ['a long URL', `GET /?${'x'.repeat(20_000)} HTTP/1.1\r\nHost: a\r\n\r\n`, 431, 'headers-too-large'],
    ['endless headers', `GET / HTTP/1.1\r\nHost: a\r\nX: ${'x'.repeat(20_000)}`, 431, 'headers-too-large'],
  ])('%s', async (_, request, status, code) => {
    const answer = await readToEnd(await send(await serve(echo()), request))
    expect(answer).toMatch(new RegExp(`^HTTP/1.1 ${status} `))
    expect(answer).toMatch(/\r\nX-Request-Id: [0-9a-f-]{36}\r\n/)
    expect(JSON.parse(answer.slice(answer.indexOf('\r\n\r\n')))).toMatchObject({ status, code })
  })

  test('without a body where only the head was asked for', async () => {
    const request = `HEAD / HTTP/1.1\r\nHost: a\r\nX: ${'x'.repeat(20_000)}\r\n\r\n`
    const answer = await readToEnd(await send(await serve(echo()), request))
    expect(answer).toMatch(/^HTTP\/1.1 431 .*\r\n\r\n$/s)
  })

  test('without breaking into an answer that has begun', async () => {
    const app = new Koa().use(ctx => {
      ctx.respond = false
      ctx.res.writeHead(200).write('begun')
    })
    const socket = await send(await serve(app), 'GET / HTTP/1.1\r\nHost: a\r\n\r\n')
    await once(socket, 'data')
    socket.write('nonsense\r\n\r\n')
    expect(await readToEnd(socket)).toBe('')
  })
})

test('an answer that nobody reads is not kept for ever', async () => {
  // More than the kernel buffers.
  const answer = Buffer.alloc(64 * 1024 * 1024)
  let given = () => {}
  const closed = new Promise<void>(resolve => {
    given = resolve
  })
  const app = new Koa().use(ctx => {
    ctx.res.once('close', given)
    ctx.body = answer
  })
  app.silent = true
  const socket = await send(
    await serve(app, { ...QUICK, idleTimeoutMs: 100 }),
    'GET / HTTP/1.1\r\nHost: a\r\n\r\n',
  )
  await closed
  expect((await readToEnd(socket)).length).toBeLessThan(answer.length)
})

test('a stream is left alone however long it is silent', async () => {
  let stream: Connection | undefined
  const app = new Koa().use(ctx => {
    ctx.respond = false
    // What is not a stream is never answered here.
    if (ctx.path !== '/stream') return
    const { socket } = ctx
    ctx.res.writeHead(200).flushHeaders()
    takeOver(ctx.res, socket)
    const viewer = { cursor: singleCursor('a'), envelope: false, named: true, types: null }
    stream = new Connection(
      socket,
      true,
      viewer,
      { writeTimeoutMs: 60_000, maxAgeMs: 60_000 },
      null,
      () => {},
    )
  })
  const url = await serve(app, { ...QUICK, idleTimeoutMs: 100 })
  const viewer = await send(url, 'GET /stream HTTP/1.1\r\nHost: a\r\n\r\n')
  await once(viewer, 'data')
  // As long as this takes, the stream is silent too.
  const other = await send(url, 'GET /other HTTP/1.1\r\nHost: a\r\n\r\n')
  await readToEnd(other)
  stream!.heartbeat()
  const [bytes] = (await once(viewer, 'data')) as [Buffer]
  expect(bytes.toString()).toBe('3\r\n:\n\n\r\n')
  stream!.end('ended')
  viewer.destroy()
})

test('a connection too many is closed, and one that ends makes room for another', async () => {
  const url = await serve(echo(), { ...SERVER_LIMITS, maxConnections: 2 })
  const ask = 'GET / HTTP/1.1\r\nHost: a\r\n\r\n'
  const open = await Promise.all([send(url, ask), send(url, ask)])
  await Promise.all(open.map(socket => once(socket, 'data')))
  const refused = await send(url, '')
  refused.on('error', () => undefined)
  expect(await readToEnd(refused)).toBe('')
  open[0]!.end()
  await until('there is room', async () => {
    const further = await send(url, `${ask.slice(0, -2)}Connection: close\r\n\r\n`)
    further.on('error', () => undefined)
    return /^HTTP\/1.1 200 /.test(await readToEnd(further))
  })
  open[1]!.destroy()
})

describe('at the end', () => {
  test('an idle connection is closed at once and a new one is not taken', async () => {
    const url = await serve(echo())
    const socket = await send(url, 'GET / HTTP/1.1\r\nHost: a\r\n\r\n')
    await once(socket, 'data')
    const [server] = servers.splice(0)
    await server!.stopAccepting()
    await readToEnd(socket)
    await expect(fetch(url)).rejects.toThrow()
    await server!.finish()
  })

  test('a request under way is answered', async () => {
    let release = () => {}
    const held = new Promise<void>(resolve => {
      release = resolve
    })
    let arrived = () => {}
    const arrival = new Promise<void>(resolve => {
      arrived = resolve
    })
    const app = new Koa().use(async ctx => {
      arrived()
      await held
      ctx.body = 'late'
    })
    const answer = fetch(await serve(app))
    await arrival
    const [server] = servers.splice(0)
    await server!.stopAccepting()
    release()
    expect(await (await answer).text()).toBe('late')
    await server!.finish()
  })

  test('a request that does not end is cut', async () => {
    const app = new Koa().use(() => new Promise(() => {}))
    const socket = await send(await serve(app), 'GET / HTTP/1.1\r\nHost: a\r\n\r\n')
    const gone = readToEnd(socket)
    const [server] = servers.splice(0)
    await server!.stopAccepting()
    await server!.finish()
    expect(await gone).toBe('')
  })
})
