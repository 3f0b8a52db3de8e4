// Requests that wait for the end of a task. Like a stream they follow the task's channel; what comes on it makes them
// look at the task, and so does everything that could have kept it from coming.

import type { Redis } from 'ioredis'
import { taskChannel } from '../../shared/event.ts'
import { isTerminal } from '../../shared/task.ts'
import type { Client } from '../limits/clients.ts'
import type { OpenConnections } from '../limits/open-connections.ts'
import type { Feed, Follower } from './feed.ts'
import type { Hub } from './hub.ts'

/** While Redis or pub/sub is away, waits look at their tasks this often; with Redis that answers them. */
const OUTAGE_CHECK_MS = 500

interface TaskWaitsParts {
  readonly hub: Hub
  /** For commands. */
  readonly redis: Redis
  readonly open: OpenConnections
  /** The number of channels that are followed has changed. */
  onChannels(): void
}

interface WaitRequest {
  readonly client: Client
  readonly timeoutMs: number
  /** Aborted when nobody waits any more. */
  readonly signal: AbortSignal
  /** Whether there is nothing to wait for; it may throw, and so ends the wait. */
  hasEnded(): Promise<boolean>
}

export class TaskWaits {
  readonly #parts: TaskWaitsParts
  readonly #waits = new Set<TaskWait>()
  #check: NodeJS.Timeout | undefined
  #stopped = false

  constructor(parts: TaskWaitsParts) {
    this.#parts = parts
  }

  start(): void {
    const { hub, redis } = this.#parts
    this.#check = setInterval(() => {
      if (redis.status === 'ready' && hub.hears) return
      for (const wait of this.#waits) wait.wake()
    }, OUTAGE_CHECK_MS)
  }

  /** All waits are over, as if their time was. */
  stop(): void {
    this.#stopped = true
    clearInterval(this.#check)
    for (const wait of this.#waits) wait.end()
  }

  /**
   * Resolves when the task has ended, or when there is no more time to wait for it: the time is over, the signal aborts,
   * the gateway shuts down. Throws what `hasEnded` throws, `gateway-full` and
   * `too-many-connections`.
   */
  async untilEnded(taskId: string, { client, timeoutMs, signal, hasEnded }: WaitRequest): Promise<void> {
    const { hub, open } = this.#parts
    if (this.#stopped || signal.aborted) return
    open.admit(client)
    open.add(client)
    const wait = new TaskWait(hub.feed(taskChannel(taskId)))
    const end = (): void => wait.end()
    const timer = setTimeout(end, timeoutMs)
    signal.addEventListener('abort', end)
    this.#follow(wait)
    try {
      await Promise.race([wait.feed.attached, wait.changed()])
      // From here on the hub notices by itself when something did not come.
      if (!wait.over) await wait.feed.readHead()
      while (!wait.over) {
        const changed = wait.changed()
        if (await hasEnded()) return
        await changed
      }
    } finally {
      clearTimeout(timer)
      signal.removeEventListener('abort', end)
      this.#leave(wait)
      open.remove(client)
    }
  }

  #follow(wait: TaskWait): void {
    this.#waits.add(wait)
    this.#parts.hub.attach(wait)
    this.#parts.onChannels()
  }

  #leave(wait: TaskWait): void {
    this.#waits.delete(wait)
    this.#parts.hub.detach(wait)
    this.#parts.onChannels()
  }
}

/** One request that waits. */
class TaskWait implements Follower {
  readonly feed: Feed
  readonly live = true
  over = false
  #resolve = (): void => undefined

  constructor(feed: Feed) {
    this.feed = feed
  }

  /** Resolves when the task may have ended since this was called, or the wait is over. */
  changed(): Promise<void> {
    if (this.over) return Promise.resolve()
    return new Promise(resolve => {
      this.#resolve = resolve
    })
  }

  /** Nothing comes after a task's end, so it is the last event. */
  advance(): void {
    const { last } = this.feed.tail
    if (!last || isTerminal(last.type) || !this.feed.isHead(last)) this.wake()
  }

  catchUp(): void {
    this.wake()
  }

  wake(): void {
    this.#resolve()
  }

  end(): void {
    this.over = true
    this.#resolve()
  }
}
