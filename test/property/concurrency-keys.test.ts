import { afterAll, beforeAll, expect, test } from '@jest/globals'
import fc from 'fast-check'
import { Redis } from 'ioredis'
import { ConcurrencyKeys, type KeyedTask, type Step } from '../../shared/redis-concurrency-keys.ts'
import { startRedis, type TestRedis } from '../support/redis.ts'

let server: TestRedis
let redis: Redis

beforeAll(async () => {
  server = await startRedis({ appendFsync: 'everysec' })
  redis = new Redis(server.url)
})
afterAll(async () => {
  redis.disconnect()
  await server.close()
})

/** Gateways, workers and the queue around a key, whose steps may reach Redis twice, with the first answer lost. */
class Driver {
  readonly #keys = new ConcurrencyKeys(redis)
  readonly #limit: number
  readonly queue = new Set<string>()
  readonly running = new Set<string>()
  readonly done = new Set<string>()
  submitted = 0

  constructor(limit: number) {
    this.#limit = limit
  }

  async submit(priority: number, isRepeated: boolean): Promise<void> {
    await this.#enqueue(this.#task(`t${this.submitted++}`), priority, isRepeated)
  }

  /** A task whose delay is over comes to a worker without a slot. */
  async comeDue(isRepeated: boolean): Promise<void> {
    const task = this.#task(`t${this.submitted++}`)
    if (!(await this.#begin(task, isRepeated))) await this.#enqueue(task, 0, isRepeated)
  }

  async take(isRepeated: boolean): Promise<void> {
    const [id] = this.queue
    if (id === undefined) return
    expect(await this.#begin(this.#task(id), isRepeated)).toBe(true)
  }

  async end(isRepeated: boolean): Promise<void> {
    const [id] = this.running
    if (id === undefined) return
    this.running.delete(id)
    this.done.add(id)
    await this.#carryOut(() => this.#keys.end(this.#task(id)), isRepeated)
  }

  async #enqueue(task: KeyedTask, priority: number, isRepeated: boolean): Promise<void> {
    const { hasSlot } = await this.#carryOut(() => this.#keys.queue(task, priority), isRepeated)
    if (hasSlot) this.queue.add(task.id)
  }

  async #begin(task: KeyedTask, isRepeated: boolean): Promise<boolean> {
    this.queue.delete(task.id)
    const { hasSlot } = await this.#carryOut(() => this.#keys.begin(task), isRepeated)
    if (hasSlot) this.running.add(task.id)
    return hasSlot
  }

  async #carryOut(step: () => Promise<Step>, isRepeated: boolean): Promise<Step> {
    if (isRepeated) await step()
    const answer = await step()
    if (answer.next) this.queue.add(answer.next)
    return answer
  }

  #task(id: string): KeyedTask {
    return { id, concurrencyKey: 'k', concurrencyLimit: this.#limit }
  }
}

const step = fc.record({
  what: fc.constantFrom('submit', 'submit', 'comeDue', 'take', 'take', 'end'),
  isRepeated: fc.boolean(),
  priority: fc.nat(2),
} as const)

test('whatever happens, the limit holds, one task at most waits in the queue, and every task has its turn', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 1, max: 3 }),
      fc.array(step, { maxLength: 40 }),
      async (limit, steps) => {
        await redis.flushall()
        const driver = new Driver(limit)
        const check = () => {
          expect(driver.running.size).toBeLessThanOrEqual(limit)
          expect(driver.queue.size).toBeLessThanOrEqual(1)
        }
        for (const { what, isRepeated, priority } of steps) {
          if (what === 'submit') await driver.submit(priority, isRepeated)
          else await driver[what](isRepeated)
          check()
        }
        while (driver.queue.size + driver.running.size > 0) {
          await driver.take(false)
          check()
          await driver.end(false)
        }
        expect(driver.done.size).toBe(driver.submitted)
        expect((await redis.keys('*')).filter(key => key !== '{mr}:held:count')).toEqual([])
      },
    ),
    { numRuns: 200 },
  )
})
