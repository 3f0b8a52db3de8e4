// Answers what the HTTP parser refuses, and what does not come to an end, before Koa ever sees it.

import { randomUUID } from 'node:crypto'
import { type ServerResponse, STATUS_CODES } from 'node:http'
import type { Socket } from 'node:net'
import { type ErrorCode, MillraceError } from '../../shared/errors.ts'
import { PROBLEM_TYPE, PROBLEMS, problemBody } from './problem.ts'

/** What Node's HTTP parser meets, with the bytes in which it met it. */
type ParserError = NodeJS.ErrnoException & { readonly rawPacket?: Buffer }

const HEAD = 'HEAD '

/** A listener for `clientError` of an HTTP server: says what was wrong, if that can still be said, and closes. */
export function refuseConnection(error: ParserError, socket: Socket): void {
  // Node keeps the response under way here, and looks at it for the same purpose in its own listener.
  const { _httpMessage: response } = socket as Socket & { _httpMessage?: ServerResponse | null }
  if (error.code === 'ECONNRESET' || !socket.writable || response?.headersSent) {
    socket.destroy()
  } else {
    // An answer to HEAD has no body (RFC 9110, 9.3.2). Most requests come whole, so that this one begins with its method.
    const isHead = error.rawPacket?.toString('latin1', 0, HEAD.length) === HEAD
    socket.end(refusalText(error.code, isHead), () => socket.destroy())
  }
}

/** Refuses a request whose headers alone are too much, and closes its connection. */
export function refuseRequest(response: ServerResponse, code: ErrorCode, detail: string): void {
  const { status, headers, body } = refusal(code, detail)
  response.writeHead(status, headers).end(body)
}

function refusal(code: ErrorCode, detail: string) {
  const requestId = randomUUID()
  const body = problemBody(new MillraceError(code, detail), requestId)
  const headers = {
    'Content-Type': PROBLEM_TYPE,
    'Content-Length': Buffer.byteLength(body),
    'X-Request-Id': requestId,
    'Cache-Control': 'no-store',
    Connection: 'close',
  }
  return { status: PROBLEMS[code].status, headers, body }
}

/** As it goes over the wire, where no response is there to write it. */
function refusalText(parserCode: string | undefined, isHead: boolean): string {
  const { status, headers, body } = refusal(...describe(parserCode))
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}`)
  return [`HTTP/1.1 ${status} ${STATUS_CODES[status]}`, ...lines, '', isHead ? '' : body].join('\r\n')
}

function describe(parserCode: string | undefined): [code: ErrorCode, detail: string] {
  switch (parserCode) {
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return ['request-timeout', 'the request did not come to its end in time']
    case 'HPE_HEADER_OVERFLOW':
      return ['headers-too-large', 'the headers have too many bytes']
    default:
      return ['invalid-request', 'what came is not a well-formed HTTP request']
  }
}
