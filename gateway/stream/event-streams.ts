// The event streams of a gateway: opens them, keeps them alive, ends them in an orderly way.

import { once } from 'node:events'
import type { ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import type { Redis } from 'ioredis'
import type { GatewayConfig } from '../../shared/config.ts'
import { MillraceError } from '../../shared/errors.ts'
import { type NewEvent, taskOfChannel } from '../../shared/event.ts'
import { comparePositions, type Position } from '../../shared/event-id.ts'
import type { EventLog } from '../../shared/event-log.ts'
import type { Logger } from '../../shared/log.ts'
import type { TaskStore } from '../../shared/redis-tasks.ts'
import type { Client } from '../limits/clients.ts'
import type { OpenConnections } from '../limits/open-connections.ts'
import type { GatewayMetrics } from '../metrics.ts'
import type { CloseReason } from './close-reason.ts'
import { Connection, type ConnectionLimits, type ViewerOptions } from './connection.ts'
import { Hub } from './hub.ts'
import { chunkOf, openingFrame, retryFrame } from './sse-frame.ts'
import { type Origin, type Start, Subscription, type SubscriptionContext } from './subscription.ts'
import { takeOver } from './take-over.ts'
import { type Ends, TaskEnds } from './task-ends.ts'
import { TaskWaits } from './task-waits.ts'

/** What a client asks for. */
export interface StreamRequest {
  readonly viewer: ViewerOptions
  /** The cursor as the client sent it; null without one. */
  readonly cursor: string | null
  /** Where channels begin that have no cursor; null = by their kind. */
  readonly origin: Origin | null
  /** When the client's credential does, in ms since 1970; null = never. The stream ends with it. */
  readonly expiresAt: number | null
  readonly client: Client
  /** What the head of the answer has beside what makes it a stream: names and values in turn. */
  readonly head: readonly string[]
}

/** The client waits this long before it reconnects. */
const RETRY_MS = 2_000

/** While Redis is away, a stream that waits for it looks again this often. */
const REDIS_RETRY_MS = 500

const HEAD = [
  ...['Content-Type', 'text/event-stream'],
  ...['Cache-Control', 'no-cache, no-transform'],
  ...['X-Accel-Buffering', 'no'],
  // The stream is the last answer on its connection.
  ...['Connection', 'close'],
]

const OPENING = chunkOf([openingFrame(RETRY_MS)])

interface Dependencies {
  readonly config: GatewayConfig
  /** For commands. */
  readonly redis: Redis
  /** For subscriptions alone. */
  readonly subscriber: Redis
  readonly log: EventLog
  readonly tasks: TaskStore
  /** Requests that wait for the end of a task count as streams. */
  readonly open: OpenConnections
  readonly logger: Logger
  readonly metrics: GatewayMetrics
}

export class EventStreams {
  readonly waits: TaskWaits
  readonly #config: GatewayConfig
  readonly #ends: TaskEnds
  readonly #logger: Logger
  readonly #metrics: GatewayMetrics
  readonly #hub: Hub
  readonly #open: OpenConnections
  readonly #connections = new Set<Connection>()
  readonly #context: SubscriptionContext
  readonly #limits: ConnectionLimits
  #ticker: NodeJS.Timeout | undefined
  #tickedAt = performance.now()
  #draining = false

  constructor({ config, redis, subscriber, log, tasks, open, logger, metrics }: Dependencies) {
    this.#config = config
    this.#ends = new TaskEnds(tasks)
    this.#open = open
    this.#logger = logger
    this.#metrics = metrics
    this.#hub = new Hub({ redis, subscriber, log, logger, metrics })
    this.waits = new TaskWaits({
      hub: this.#hub,
      redis,
      open,
      onChannels: () => metrics.channelsActive.set(this.#hub.channels),
    })
    this.#limits = {
      writeTimeoutMs: config.MILLRACE_WRITE_TIMEOUT_MS,
      maxAgeMs: config.MILLRACE_MAX_CONNECTION_AGE_MS,
    }
    this.#context = {
      snapshot: channel => this.#ends.snapshot(channel),
      endOf: channel => this.#ends.of(channel),
      onCatchUp: reason => metrics.catchups.inc({ reason }),
      onSent: (count, path) => {
        metrics.sent[path] += count
      },
      onGap: ({ reason }) => metrics.gaps.inc({ reason }),
      onFault: error => logger.debug({ err: error }, 'a read of the log failed; it is repeated'),
    }
  }

  /** True once the gateway takes no further streams. */
  get draining(): boolean {
    return this.#draining
  }

  /** Whether live events are known to reach this gateway. */
  get hears(): boolean {
    return this.#hub.hears
  }

  async start(): Promise<void> {
    const { MILLRACE_HEARTBEAT_MS: heartbeatMs } = this.#config
    this.#ticker = setInterval(() => this.#tick(heartbeatMs), Math.max(10, Math.min(1_000, heartbeatMs / 8)))
    this.waits.start()
    await this.#hub.start()
  }

  /** Ends all streams at random moments within MILLRACE_DRAIN_MS, so that their clients don't come back at once. */
  async stop(): Promise<void> {
    this.#draining = true
    this.waits.stop()
    await Promise.all(
      [...this.#connections].map(async connection => {
        await delay(Math.random() * this.#config.MILLRACE_DRAIN_MS)
        connection.write(chunkOf([retryFrame(Math.round(RETRY_MS * (0.5 + Math.random())))]))
        connection.end('drain')
      }),
    )
    clearInterval(this.#ticker)
    this.#hub.stop()
  }

  /** Events that this gateway has appended to a channel, from `first` on. */
  appended(channel: string, events: readonly NewEvent[], first: Position): void {
    this.#hub.appended(channel, events, first)
  }

  /**
   * Opens a stream on a response that has nothing sent yet; it then belongs to the stream. Answers `ended`,
   * with the response untouched, when the client has seen all there will ever be. Throws `task-not-found`,
   * `gateway-full`, `too-many-connections` or `shutting-down`.
   */
  async open(request: StreamRequest, response: ServerResponse): Promise<'open' | 'ended'> {
    this.#admit(request.client)
    const ends = await this.#endsOf(request).catch(error => {
      if (error instanceof MillraceError) throw error
      // Redis is away: an EventSource would give up for good on an error, so the stream waits instead.
      return null
    })
    if (ends && this.#hasSeenAll(request, ends)) return 'ended'
    // A pipelined request has the socket once those before it are answered.
    const socket = response.socket ?? ((await once(response, 'socket')) as [Socket])[0]
    if (socket.destroyed) return 'open'
    // Others may have come meanwhile, or the end of this gateway.
    this.#admit(request.client)
    // What is at hand in this turn of the loop leaves with the head, in one write.
    socket.cork()
    setImmediate(() => socket.uncork())
    response.writeHead(200, [...request.head, ...HEAD]).flushHeaders()
    if (response.req.method === 'HEAD') {
      response.end()
      return 'open'
    }
    const { chunkedEncoding } = response
    takeOver(response, socket)
    const { viewer, client, expiresAt } = request
    const connection = new Connection(socket, chunkedEncoding, viewer, this.#limits, expiresAt, this.#closed)
    this.#open.add(client)
    // Not when the stream ends: what its client leaves unread then is kept for it here.
    socket.once('close', () => this.#open.remove(client))
    this.#connections.add(connection)
    this.#metrics.connections.set(this.#connections.size)
    connection.write(OPENING)
    this.#run(connection, request, ends).catch(error => {
      this.#logger.error({ err: error }, 'a stream failed')
      connection.destroy('fault')
    })
    return 'open'
  }

  #admit(client: Client): void {
    if (this.#draining) throw new MillraceError('shutting-down', 'the gateway is shutting down')
    this.#open.admit(client)
  }

  async #run(connection: Connection, request: StreamRequest, knownEnds: Ends | null): Promise<void> {
    const ends = knownEnds ?? (await this.#endsWhenBack(connection, request))
    if (!ends || connection.closed) return
    const { channels } = request.viewer.cursor
    const starts = this.#starts(request)
    connection.subscriptions = channels.map(channel => {
      const feed = this.#hub.feed(channel)
      const subscription = new Subscription(feed, connection, ends.get(channel) ?? null, this.#context)
      this.#hub.attach(subscription)
      return subscription
    })
    this.#metrics.channelsActive.set(this.#hub.channels)
    // All positions are found before the first event goes out, since each event carries the whole cursor.
    const gaps = await Promise.all(
      connection.subscriptions.map((subscription, i) =>
        subscription.begin(starts[i]!, originOf(channels[i]!, request)),
      ),
    )
    if (connection.closed) return
    if (gaps.every(gap => gap === null) && this.#startsAtHead(request)) connection.writeCursor()
    await Promise.all(
      connection.subscriptions.map((subscription, i) => subscription.catchUp('connect', gaps[i] ?? null)),
    )
  }

  /** Without a cursor a stream that begins at the end, or a little before, may have shown its client no id to resume from. */
  #startsAtHead(request: StreamRequest): boolean {
    const { channels } = request.viewer.cursor
    return request.cursor === null && channels.some(channel => originOf(channel, request) !== 'earliest')
  }

  #starts({ cursor, viewer }: StreamRequest): Start[] {
    if (cursor === null) return viewer.cursor.channels.map(() => ({ after: 'none' }))
    const positions = viewer.cursor.parse(cursor)
    return viewer.cursor.channels.map((_, i) => ({ after: positions?.[i] ?? 'unknown' }))
  }

  #hasSeenAll(request: StreamRequest, ends: Ends): boolean {
    const { channels } = request.viewer.cursor
    const starts = this.#starts(request)
    return channels.every((channel, i) => {
      const end = ends.get(channel)
      const { after } = starts[i]!
      if (!end) return false
      if (typeof after === 'object') return comparePositions(after, end) === 0
      return after === 'none' && originOf(channel, request) === 'latest'
    })
  }

  #endsOf({ viewer }: StreamRequest): Promise<Ends> {
    return this.#ends.among(viewer.cursor.channels, viewer.envelope)
  }

  async #endsWhenBack(connection: Connection, request: StreamRequest): Promise<Ends | null> {
    while (!connection.closed) {
      try {
        return await this.#endsOf(request)
      } catch (error) {
        if (error instanceof MillraceError) {
          connection.end('gone')
          return null
        }
        await delay(REDIS_RETRY_MS * (0.5 + Math.random()))
      }
    }
    return null
  }

  readonly #closed = (connection: Connection, reason: CloseReason): void => {
    this.#connections.delete(connection)
    for (const subscription of connection.subscriptions) this.#hub.detach(subscription)
    this.#metrics.connections.set(this.#connections.size)
    this.#metrics.channelsActive.set(this.#hub.channels)
    this.#metrics.connectionsClosed.inc({ reason })
  }

  #tick(heartbeatMs: number): void {
    const now = performance.now()
    const lookedAt = this.#tickedAt
    this.#tickedAt = now
    for (const connection of this.#connections) {
      if (connection.hasWritten) {
        connection.hasWritten = false
        connection.silentSince = lookedAt
      }
      if (now >= connection.endsAt) {
        if (connection.endsFor === 'expired') connection.expire()
        else connection.end('age')
      } else if (now - connection.silentSince >= heartbeatMs) connection.heartbeat()
    }
  }
}

function originOf(channel: string, { origin }: StreamRequest): Origin {
  return origin ?? (taskOfChannel(channel) === null ? 'latest' : 'earliest')
}
