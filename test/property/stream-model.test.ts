// Event streams under arbitrary interleavings: two gateways, whose connections to Redis answer and lose as they
// like, and clients that stall, break off and come back elsewhere. Whatever happens, each client's sequence is
// contiguous, or a gap says exactly what is missing; nothing comes twice but after a reset; and in the end
// everybody has everything.

import { setImmediate as turn } from 'node:timers/promises'
import { afterEach, beforeEach, expect, jest, test } from '@jest/globals'
import fc from 'fast-check'
import type { ViewerOptions } from '../../gateway/stream/connection.ts'
import { singleCursor, vectorCursor } from '../../gateway/stream/cursor.ts'
import type { Position } from '../../shared/event-id.ts'
import { MemoryEventLog } from '../support/memory-event-log.ts'
import { MemoryGateway, MemorySocket } from '../support/memory-gateway.ts'
import { Appended, ModelClient } from './model-client.ts'

/** The same in every run, so that a failure is of the change at hand; SEED=… looks elsewhere, RUNS=… for longer. */
const SEED = Number(process.env.SEED ?? 20)
const RUNS = Number(process.env.RUNS ?? 400)
const MAX_STEPS = 120
const MAX_EVENTS = 6
const CHANNELS = ['a', 'b']
const GATEWAYS = 2
/** Of one gateway in one run; far more than any needs. */
const MAX_COMMANDS = 5_000
/** Larger than what one write or a live viewer's buffer takes. */
const LARGE = 'x'.repeat(150_000)

/** How clients watch: each is one of these for good. */
const VIEWERS: ViewerOptions[] = [
  { cursor: singleCursor('a'), envelope: false, named: true, types: null },
  { cursor: singleCursor('a'), envelope: false, named: true, types: null },
  { cursor: singleCursor('b'), envelope: false, named: false, types: new Set(['x']) },
  { cursor: vectorCursor(CHANNELS), envelope: true, named: true, types: null },
  { cursor: vectorCursor(CHANNELS), envelope: true, named: true, types: new Set(['y']) },
]

const gateway = fc.nat(GATEWAYS - 1)
const viewer = fc.nat(VIEWERS.length - 1)
const channel = fc.constantFrom(...CHANNELS)
const origin = fc.constantFrom('earliest' as const, 'latest' as const)

const step = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant('append' as const),
      channel,
      types: fc.array(fc.constantFrom('x', 'y'), { minLength: 1, maxLength: MAX_EVENTS + 2 }),
      large: fc.oneof({ weight: 9, arbitrary: fc.constant(false) }, fc.constant(true)),
      by: fc.option(gateway),
    }),
  },
  { weight: 6, arbitrary: fc.record({ do: fc.constant('open' as const), viewer, gateway, origin }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('open-confused' as const), viewer, gateway, origin }) },
  {
    weight: 4,
    arbitrary: fc.record({ do: fc.constantFrom('cut' as const, 'stall' as const, 'read' as const), viewer }),
  },
  {
    weight: 16,
    arbitrary: fc.record({
      do: fc.constantFrom('execute' as const, 'reply' as const, 'hear' as const),
      gateway,
    }),
  },
  { weight: 6, arbitrary: fc.record({ do: fc.constant('tick' as const) }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('rest' as const) }) },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constantFrom(
        'lose' as const,
        'hear-twice' as const,
        'disconnect' as const,
        'reconnect' as const,
        'compare' as const,
      ),
      gateway,
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constant('go-back' as const), channel, keep: fc.nat(MAX_EVENTS) }),
  },
)
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never

/** The command connection of a gateway: Redis carries out in order, and answers in order, each in its time. */
class CommandQueue {
  asked = 0
  #sent: (() => () => void)[] = []
  #executed: (() => void)[] = []

  readonly carryOut = <T>(operation: () => T): Promise<T> =>
    new Promise<T>((resolve, reject) => {
      // Left unanswered, and told.
      if (++this.asked > MAX_COMMANDS) return
      this.#sent.push(() => {
        try {
          const answer = operation()
          return () => resolve(answer)
        } catch (error) {
          return () => reject(error)
        }
      })
    })

  get idle(): boolean {
    return this.#sent.length === 0 && this.#executed.length === 0
  }

  execute(): void {
    const next = this.#sent.shift()
    if (next) this.#executed.push(next())
  }

  reply(): void {
    this.#executed.shift()?.()
  }
}

class Model {
  readonly #appended = new Map(CHANNELS.map(name => [name, new Appended()]))
  /** Positions that are known to have been reached by logs which went back. */
  readonly #unasserted = new Map<string, Position>()
  readonly #log: MemoryEventLog
  readonly #queues = Array.from({ length: GATEWAYS }, () => new CommandQueue())
  readonly #gateways: MemoryGateway[]
  readonly #clients: ModelClient[]
  readonly #sockets: (MemorySocket | null)[] = VIEWERS.map(() => null)
  #failure: unknown = null
  #epoch = 1_700_000_000_000
  #serial = 0

  constructor() {
    this.#log = new MemoryEventLog({
      retention: { maxEvents: MAX_EVENTS, ttlMs: 60_000 },
      carryOut: async operation => operation(),
      onPublish: (name, message) => {
        for (const { publish } of this.#gateways.map(g => ({ publish: g.publish.bind(g) })))
          publish(name, message)
      },
      now: () => (this.#epoch += 1_000),
    })
    this.#gateways = this.#queues.map(
      queue => new MemoryGateway(this.#log.connection(queue.carryOut), this.#log),
    )
    this.#clients = VIEWERS.map(options => new ModelClient(options, this.#appended, this.#log))
    // Their first; every further one is after an outage.
    for (const { subscriber } of this.#gateways) subscriber.reconnect()
  }

  async run(steps: readonly Step[]): Promise<void> {
    for (const next of steps) {
      await this.#take(next)
      await this.#pause()
    }
    await this.#recover()
    for (const [i, client] of this.#clients.entries()) if (this.#sockets[i]) client.expectComplete()
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket?.destroy()
    await this.#rest()
  }

  async #take(next: Step): Promise<void> {
    switch (next.do) {
      case 'append':
        return this.#append(next.channel, next.types, next.large, next.by)
      case 'open':
        return this.#open(
          next.viewer,
          next.gateway,
          next.origin,
          this.#clients[next.viewer]!.lastEventId || null,
        )
      case 'open-confused':
        return this.#open(next.viewer, next.gateway, next.origin, 'not.a-cursor')
      case 'cut':
        return this.#cut(next.viewer)
      case 'stall':
        return this.#sockets[next.viewer]?.stall()
      case 'read':
        return this.#sockets[next.viewer]?.resumeTaking()
      case 'execute':
        return this.#queues[next.gateway]!.execute()
      case 'reply':
        return this.#queues[next.gateway]!.reply()
      case 'tick':
        return this.#tick()
      case 'rest':
        return this.#rest()
      case 'go-back':
        return this.#goBack(next.channel, next.keep)
      default:
        return this.#disturb(next.do, next.gateway)
    }
  }

  #disturb(
    how: 'hear' | 'lose' | 'hear-twice' | 'disconnect' | 'reconnect' | 'compare',
    which: number,
  ): void {
    const { subscriber } = this.#gateways[which]!
    const { inbound } = subscriber
    if (how === 'hear') inbound.shift()?.deliver()
    if (how === 'lose' && inbound[0]?.isMessage) inbound.shift()
    if (how === 'hear-twice' && inbound[0]?.isMessage) inbound[0].deliver()
    if (how === 'disconnect' && subscriber.status === 'ready') subscriber.drop()
    if (how === 'reconnect' && subscriber.status !== 'ready') subscriber.reconnect()
    if (how === 'compare' && subscriber.status === 'ready') subscriber.emit('ready')
  }

  async #append(name: string, types: readonly string[], large: boolean, by: number | null): Promise<void> {
    // Before a number could be used again, somebody who knows that it was used has said so.
    const known = this.#unasserted.get(name)
    this.#unasserted.delete(name)
    if (known) await this.#log.assertReached(name, known)
    const events = types.map(type => {
      const data = `${++this.#serial} ${large ? LARGE : ''}`
      return { type, time: 1, format: 'text' as const, data }
    })
    const last = this.#log.logs.get(name)?.last ?? { epoch: this.#epoch + 1_000, seq: 0 }
    for (const [i, { type, data }] of events.entries())
      this.#appended.get(name)!.add({ epoch: last.epoch, seq: last.seq + i + 1 }, type, data)
    const first = await this.#log.append(name, events)
    if (by === null) return
    // One of the gateways has appended them, and hears so with the answer.
    const { streams } = this.#gateways[by]!
    void this.#queues[by]!.carryOut(() => first).then(() => streams.appended(name, events, first))
  }

  #goBack(name: string, keep: number): void {
    const last = this.#log.logs.get(name)?.last
    if (!last) return
    this.#appended.get(name)!.resets++
    if (!this.#unasserted.has(name)) this.#unasserted.set(name, last)
    this.#log.goBack(name, keep)
  }

  async #open(
    which: number,
    where: number,
    from: 'earliest' | 'latest',
    cursor: string | null,
  ): Promise<void> {
    if (this.#sockets[which]) return
    const client = this.#clients[which]!
    client.connect(cursor, from)
    const socket = new MemorySocket(bytes => {
      try {
        if (this.#sockets[which] === socket) client.take(bytes)
      } catch (error) {
        this.#failure ??= error
      }
    })
    this.#sockets[which] = socket
    await this.#gateways[where]!.open(
      { viewer: VIEWERS[which]!, cursor, origin: from, expiresAt: null },
      socket,
    )
  }

  #cut(which: number): void {
    const socket = this.#sockets[which]
    this.#sockets[which] = null
    socket?.destroy()
  }

  /** What is planned for later happens. */
  #tick(): void {
    jest.advanceTimersByTime(30)
  }

  /** Promises that can go on do. */
  async #pause(): Promise<void> {
    await turn()
    await turn()
    if (this.#queues.some(({ asked }) => asked > MAX_COMMANDS)) throw new Error('asks Redis without end')
    if (this.#failure) throw this.#failure
  }

  /** All that is under way arrives. */
  async #rest(): Promise<void> {
    for (let quiet = 0; quiet < 4; quiet++) {
      for (const [i, { subscriber }] of this.#gateways.entries()) {
        const queue = this.#queues[i]!
        if (!queue.idle || subscriber.inbound.length > 0) quiet = 0
        while (subscriber.inbound.length > 0) subscriber.inbound.shift()!.deliver()
        while (!queue.idle) {
          queue.execute()
          queue.reply()
        }
      }
      this.#tick()
      await this.#pause()
    }
  }

  /** Everything works again, and the gateways have looked at what they missed. */
  async #recover(): Promise<void> {
    for (const socket of this.#sockets) socket?.resumeTaking()
    await this.#rest()
    for (const { subscriber } of this.#gateways) {
      subscriber.drop()
      subscriber.reconnect()
    }
    await this.#rest()
  }
}

beforeEach(() => {
  jest.useFakeTimers({ doNotFake: ['nextTick', 'queueMicrotask', 'Date'] })
})

afterEach(() => {
  jest.useRealTimers()
})

test('every client is told everything in order, or what is missing', async () => {
  process.stdout.write(`stream model: seed ${SEED}\n`)
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 20, maxLength: MAX_STEPS, size: 'max' }), async steps => {
      const model = new Model()
      try {
        await model.run(steps)
      } finally {
        await model.close()
      }
    }),
    { seed: SEED, numRuns: RUNS, endOnFailure: false },
  )
  expect(jest.getTimerCount()).toBe(0)
}, 120_000)
