// The HTTP server around the app: its time limits, and how it ends.

import { createServer, type Server } from 'node:http'
import type Koa from 'koa'
import { listen } from '../shared/ops-server.ts'
import { withTimeout } from '../shared/redis-connection.ts'
import { refuseConnection, refuseRequest } from './http/refuse-connection.ts'

export interface ServerLimits {
  /** Until the headers of a request are complete. */
  readonly headersTimeoutMs: number
  /** Until a request is complete. An unfinished one is closed this much later, plus the check's interval. */
  readonly requestTimeoutMs: number
  readonly checkIntervalMs: number
  /** An idle connection is kept this long: longer than load balancers do, so that it is they who close. */
  readonly keepAliveMs: number
  /**
   * A connection on which nothing moves this long is closed: a client may leave an answer unread, and it is kept in
   * memory for it meanwhile. Longer than any answer is awaited; event streams bound this for themselves.
   */
  readonly idleTimeoutMs: number
  /**
   * Of one request. Far more than any client sends, and fewer than those past which Node drops the rest without a word
   * (1,000), which may be what a proxy has added.
   */
  readonly maxHeaders: number
  /** Connections open at once, whatever they are used for; a further one is closed at once. */
  readonly maxConnections: number
  /** After the end of the streams, requests under way are given this long. */
  readonly finishMs: number
}

export const SERVER_LIMITS: ServerLimits = {
  headersTimeoutMs: 15_000,
  requestTimeoutMs: 30_000,
  checkIntervalMs: 5_000,
  keepAliveMs: 75_000,
  idleTimeoutMs: 75_000,
  maxHeaders: 100,
  maxConnections: 30_000,
  finishMs: 5_000,
}

/** While it stops, connections that have become idle are closed this often. */
const IDLE_SWEEP_MS = 100

export class GatewayServer {
  readonly #server: Server
  readonly #limits: ServerLimits
  #closed: Promise<void> | null = null

  /** `onDrop` hears of each connection too many. */
  constructor(app: Koa, limits: ServerLimits = SERVER_LIMITS, onDrop = () => {}) {
    this.#limits = limits
    const answer = app.callback()
    this.#server = createServer(
      {
        headersTimeout: limits.headersTimeoutMs,
        requestTimeout: limits.requestTimeoutMs,
        connectionsCheckingInterval: limits.checkIntervalMs,
        keepAliveTimeout: limits.keepAliveMs,
      },
      (request, response) => {
        if (request.rawHeaders.length > 2 * limits.maxHeaders)
          refuseRequest(response, 'headers-too-large', `a request has at most ${limits.maxHeaders} headers`)
        else void answer(request, response)
      },
    )
    this.#server.maxConnections = limits.maxConnections
    this.#server.on('drop', onDrop)
    this.#server.timeout = limits.idleTimeoutMs
    this.#server.on('clientError', refuseConnection)
  }

  /** Listens and answers the URL. Throws StartupError when the port can't be had. */
  start(address: { host: string; port: number }): Promise<string> {
    return listen(this.#server, { ...address, variable: 'PORT' })
  }

  /** First step of the end: no new connections, idle ones closed. Open streams and requests go on. */
  async stopAccepting(): Promise<void> {
    const server = this.#server
    this.#closed = new Promise(resolve => server.close(() => resolve()))
    const sweep = setInterval(() => server.closeIdleConnections(), IDLE_SWEEP_MS)
    void this.#closed.then(() => clearInterval(sweep))
  }

  /** Last step: waits for the requests under way, within a bound, and cuts what is left. */
  async finish(): Promise<void> {
    await withTimeout(this.#closed ?? Promise.resolve(), this.#limits.finishMs).catch(() => {
      this.#server.closeAllConnections()
    })
  }
}
