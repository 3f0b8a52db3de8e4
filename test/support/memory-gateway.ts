// The event streams of a gateway between two things that a test holds in its hands: the connections to Redis,
// whose answers and messages come when the test lets them, and the sockets of viewers, which take bytes when
// the test lets them. All that lies between is the real thing.

import { EventEmitter } from 'node:events'
import type { ServerResponse } from 'node:http'
import { Duplex } from 'node:stream'
import { setImmediate as turn } from 'node:timers/promises'
import type { Redis } from 'ioredis'
import { Registry } from 'prom-client'
import { OpenConnections } from '../../gateway/limits/open-connections.ts'
import { createGatewayMetrics } from '../../gateway/metrics.ts'
import { EventStreams, type StreamRequest } from '../../gateway/stream/event-streams.ts'
import { gatewayConfig } from '../../shared/config.ts'
import type { EventLog } from '../../shared/event-log.ts'
import { topicKey } from '../../shared/keys.ts'
import { createLogger } from '../../shared/log.ts'
import type { TaskStore } from '../../shared/redis-tasks.ts'
import type { TaskState } from '../../shared/task.ts'
import { parseTaskFields } from '../../shared/task-record.ts'
import type { MemoryEventLog } from './memory-event-log.ts'

/** A subscriber connection as the gateway uses it. What Redis sends waits in `inbound`, in order. */
export class MemorySubscriber extends EventEmitter {
  status = 'ready'
  readonly topics = new Set<string>()
  inbound: { deliver: () => void; isMessage: boolean; lost?: () => void }[] = []

  subscribe(...topics: string[]): Promise<void> {
    return this.#command(() => {
      for (const topic of topics) this.topics.add(topic)
    })
  }

  unsubscribe(...topics: string[]): Promise<void> {
    return this.#command(() => {
      for (const topic of topics) this.topics.delete(topic)
    })
  }

  publish(topic: string, message: Buffer): void {
    if (!this.topics.has(topic)) return
    const deliver = (): void => void this.emit('messageBuffer', Buffer.from(topic), Buffer.from(message))
    this.inbound.push({ deliver, isMessage: true })
  }

  /** The connection breaks: what was under way is lost. */
  drop(): void {
    this.status = 'reconnecting'
    this.emit('close')
    this.topics.clear()
    for (const { lost } of this.inbound.splice(0)) lost?.()
  }

  /** What the gateway calls to give a connection up. */
  disconnect(): void {
    this.drop()
  }

  reconnect(): void {
    this.status = 'ready'
    this.emit('ready')
  }

  // Redis carries a command out at once; that it did is heard later.
  #command(act: () => void): Promise<void> {
    if (this.status !== 'ready') return Promise.reject(new Error('Connection is closed.'))
    act()
    return new Promise((resolve, reject) => {
      this.inbound.push({ deliver: resolve, isMessage: false, lost: () => reject(new Error('lost')) })
    })
  }
}

/** The socket of a viewer: takes what is written unless it stalls. */
export class MemorySocket extends Duplex {
  readonly #onBytes: (bytes: Buffer) => void
  #held: (() => void) | null = null
  #stalled = false

  constructor(onBytes: (bytes: Buffer) => void) {
    super({ highWaterMark: 16 * 1024, emitClose: true })
    this.#onBytes = onBytes
  }

  /** From now on nothing is taken. */
  stall(): void {
    this.#stalled = true
  }

  resumeTaking(): void {
    this.#stalled = false
    this.#held?.()
    this.#held = null
  }

  override _read(): void {}

  override _write(bytes: Buffer, _: BufferEncoding, done: () => void): void {
    const take = (): void => {
      this.#onBytes(bytes)
      done()
    }
    if (this.#stalled) this.#held = take
    else take()
  }

  setTimeout(): this {
    return this
  }

  destroySoon(): void {
    this.end(() => this.destroy())
  }
}

/** All come from one client. */
export type AskedStream = Omit<StreamRequest, 'client' | 'head'>

export class MemoryGateway {
  readonly subscriber = new MemorySubscriber()
  readonly streams: EventStreams
  readonly registry = new Registry()

  /** `view` is how this gateway sees the log: through its own connection. */
  constructor(view: EventLog, log: MemoryEventLog) {
    const fields = (id: string) => parseTaskFields(Object.fromEntries(log.tasks.get(id) ?? []))
    const tasks = {
      async loadState(id: string) {
        const task = fields(id)
        return task && { state: task.state as TaskState, lastEventId: task.lastEventId }
      },
      load: async (id: string) => fields(id),
    }
    this.streams = new EventStreams({
      config: gatewayConfig({}),
      redis: { publish: async () => 0 } as unknown as Redis,
      subscriber: this.subscriber as unknown as Redis,
      log: view,
      tasks: tasks as unknown as TaskStore,
      open: new OpenConnections({ inAll: Infinity, ofCaller: 0, ofAddress: 0 }, () => {}),
      logger: createLogger('gateway', 'silent'),
      metrics: createGatewayMetrics(this.registry),
    })
  }

  /** Hands what was published to this gateway's connection. */
  publish(channel: string, message: Buffer): void {
    this.subscriber.publish(topicKey(channel), message)
  }

  /** Opens a stream on a socket; `ended` instead of a stream when there will be nothing more. */
  async open(request: AskedStream, socket: MemorySocket): Promise<'open' | 'ended'> {
    const response = {
      socket,
      req: { method: 'GET' },
      chunkedEncoding: false,
      writeHead: () => response,
      flushHeaders: () => undefined,
    }
    const client = { caller: null, address: '127.0.0.1' }
    return this.streams.open({ ...request, client, head: [] }, response as unknown as ServerResponse)
  }

  /** Lets everything through until nothing moves any more. */
  async settle(isQuiet: () => boolean = () => true): Promise<void> {
    for (let quiet = 0; quiet < 5; ) {
      const { inbound } = this.subscriber
      if (inbound.length === 0 && isQuiet()) quiet++
      else quiet = 0
      inbound.shift()?.deliver()
      await turn()
    }
  }
}
