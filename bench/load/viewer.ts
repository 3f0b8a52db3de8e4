// One viewer of an event stream on a bare TCP socket: as little work for an event as can be.

import { connect, type Socket } from 'node:net'
import type { EventParser, ParsedEvents } from './event-parser.ts'
import { ResponseReader } from './response-reader.ts'

/** All sockets read into one buffer, since each read is dealt with before the next. */
const READ_BUFFER = Buffer.allocUnsafeSlow(512 * 1024)

export interface ViewerTarget {
  readonly port: number
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
  /** Reads the head of the response and never again. */
  readonly stalled: boolean
}

/** Opens a stream; resolves with its socket when the head of a 200 has come. */
export function openViewer(
  target: ViewerTarget,
  parser: EventParser,
  onEvents: (events: ParsedEvents) => void,
): Promise<Socket> {
  return new Promise((resolve, reject) => {
    let open = false
    const reader = new ResponseReader(parser, {
      onHead: status => {
        open = status === 200
        if (open) resolve(socket)
        else socket.destroy(new Error(`a stream was answered ${status}`))
      },
      onEvents,
    })
    const read = (length: number): boolean => {
      try {
        reader.read(READ_BUFFER, length)
      } catch (error) {
        socket.destroy(error as Error)
      }
      return !(target.stalled && open)
    }
    const onread = { buffer: READ_BUFFER, callback: read }
    const socket = connect({ port: target.port, host: '127.0.0.1', noDelay: true, onread })
    socket.write(requestOf(target))
    socket.on('error', reject)
    socket.on('close', () => reject(new Error('a stream was closed before its head')))
  })
}

function requestOf({ port, path, headers }: ViewerTarget): string {
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`)
  return `GET ${path} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nAccept: text/event-stream\r\n${lines.join('')}\r\n`
}
