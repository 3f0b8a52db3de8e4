import { once } from 'node:events'
import { createServer } from 'node:http'
import { connect } from 'node:net'
import { expect, test } from '@jest/globals'
import { takeOver } from '../../../gateway/stream/take-over.ts'
import { listen } from '../../../shared/ops-server.ts'

test('a socket that is taken over while its request is being parsed is none of the server any more', async () => {
  const server = createServer((_, response) => {
    const socket = response.socket!
    response.writeHead(200, { Connection: 'close' }).flushHeaders()
    takeOver(response, socket)
    socket.end('0\r\n\r\n')
  })
  const url = await listen(server, { host: '127.0.0.1', port: 0, variable: 'none' })
  const client = connect(Number(new URL(url).port), '127.0.0.1')
  client.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
  let text = ''
  client.on('data', chunk => {
    text += chunk
  })
  await once(client, 'close')
  expect(text).toMatch(/^HTTP\/1.1 200 OK\r\n.*\r\n\r\n0\r\n\r\n$/s)
  server.closeIdleConnections()
  await new Promise(resolve => server.close(resolve))
})
