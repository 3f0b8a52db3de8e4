// Takes a socket over from Node's HTTP server once the head of the answer is out. A stream needs nothing of
// what the server keeps for it (request, response, Koa's context, the parser with its buffers), and that is
// most of the memory that an idle viewer costs.

import type { ServerResponse } from 'node:http'
import type { Socket } from 'node:net'

/** What Node's HTTP server hangs on a connection, as far as it is touched here (Node 20 to 24). */
interface HttpSocket extends Socket {
  parser?: { unconsume(): void; remove(): void; close(): void } | null
}

/** Events on which the server, and libraries around it, listen for the sake of requests and responses. */
const EVENTS = ['data', 'end', 'close', 'drain', 'error', 'timeout'] as const

/** The listener by which a socket itself notices its end. */
const SOCKETS_OWN = 'onReadableStreamEnd'

/**
 * The socket of a response whose head is sent and whose body the caller writes; it is the last answer on this
 * connection, and whatever the client still sends is swallowed. Where Node's inside is not as expected, the
 * socket stays the server's as well, which costs memory and nothing else.
 */
export function takeOver(response: ServerResponse, socket: HttpSocket): void {
  const { parser } = socket
  const known = (['unconsume', 'remove', 'close'] as const).every(
    name => typeof parser?.[name] === 'function',
  )
  if (!parser || !known) return
  response.detachSocket(socket)
  for (const event of EVENTS) {
    for (const listener of socket.listeners(event) as (() => void)[]) {
      if (listener.name !== SOCKETS_OWN) socket.removeListener(event, listener)
    }
  }
  // Node takes the bytes from the parser for whoever listens to them, so that no further request is parsed.
  socket.on('data', swallow)
  parser.remove()
  socket.parser = null
  // The parser may be on the stack in this tick: closed now it would crash the process, and once it is through with the
  // request it puts itself back on the server's list of connections, where a closed one is met at the next sweep.
  setImmediate(() => {
    parser.remove()
    parser.close()
  })
}

function swallow(): void {}
