// One keep-alive connection over which events are published, one request after the other, on a bare TCP socket.

import { once } from 'node:events'
import { connect, type Socket } from 'node:net'

/** No answer of a server under test is larger. */
const MAX_ANSWER_BYTES = 1024 * 1024

export class PublishConnection {
  readonly #port: number
  readonly #socket: Socket
  #answer = ''
  #waiting: { resolve(body: string): void; reject(error: Error): void } | null = null

  private constructor(port: number, socket: Socket) {
    this.#port = port
    this.#socket = socket
    socket.setEncoding('latin1')
    socket.on('data', text => this.#read(text as unknown as string))
    socket.on('error', error => this.#fail(error))
    socket.on('close', () => this.#fail(new Error('the publishing connection was closed')))
  }

  static async open(port: number): Promise<PublishConnection> {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true })
    await once(socket, 'connect')
    return new PublishConnection(port, socket)
  }

  /** Resolves with the body of the answer. Rejects unless that is a 2xx. One request at a time. */
  post(path: string, body: string): Promise<string> {
    return new Promise((resolve, reject) => {
      // Closed while nothing was waited for: whoever is told only now would wait for ever.
      if (this.#socket.destroyed) return reject(new Error('the publishing connection was closed'))
      this.#waiting = { resolve, reject }
      this.#socket.write(
        `POST ${path} HTTP/1.1\r\nHost: 127.0.0.1:${this.#port}\r\nContent-Type: application/json\r\n` +
          `Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
      )
    })
  }

  close(): void {
    this.#socket.destroy()
  }

  #read(text: string): void {
    this.#answer += text
    const headEnd = this.#answer.indexOf('\r\n\r\n')
    if (headEnd < 0) return
    const head = this.#answer.slice(0, headEnd)
    const length = Number(/\r\ncontent-length: *(\d+)/i.exec(head)?.[1])
    const bodyAt = headEnd + 4
    if (!(length <= MAX_ANSWER_BYTES)) this.#fail(new Error(`an answer without a length: ${head}`))
    else if (this.#answer.length >= bodyAt + length) this.#answered(head, this.#answer.slice(bodyAt))
  }

  #answered(head: string, body: string): void {
    this.#answer = ''
    if (/^HTTP\/1\.1 2/.test(head)) this.#waiting?.resolve(body)
    else this.#fail(new Error(`a publish was answered ${head.slice(9, 12)}: ${body}`))
  }

  #fail(error: Error): void {
    this.#waiting?.reject(error)
    this.#waiting = null
  }
}
