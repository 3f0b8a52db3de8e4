// Takes a handler's events in a thread to the worker, and its answers back: what is sent, and the sending side.

import type { MessagePort } from 'node:worker_threads'
import type { NewEvent } from '../shared/event.ts'
import { type EventRefusal, EventRefused } from './event-refused.ts'
import { type EventSink, PendingEvents } from './event-sink.ts'
import type { StopCause } from './task-run.ts'

/** From a thread: an event to record, or progress to take over with its form in the task's record. */
export interface FromThread {
  readonly id: number
  readonly event: NewEvent
  readonly progress?: string
}

/** To a thread: an answer, or that the handler is to stop. */
export type ToThread =
  | { readonly id: number; readonly refused?: { readonly code: EventRefusal; readonly message: string } }
  | { readonly stop: StopCause }

export class ThreadWriter implements EventSink {
  readonly #port: MessagePort
  readonly #pending = new PendingEvents()
  readonly #waiting = new Map<number, { resolve(): void; reject(error: Error): void }>()
  /** What is said while progress is under way; the latest counts. */
  #progress: { event: NewEvent; json: string } | null = null
  #reporting: Promise<void> | null = null
  #ended: Error | null = null
  #lastId = 0

  constructor(port: MessagePort) {
    this.#port = port
  }

  async append(event: NewEvent): Promise<void> {
    const leave = this.#pending.enter(event)
    try {
      await this.#send({ event })
    } finally {
      leave()
    }
  }

  report(event: NewEvent, json: string): void {
    if (this.#ended) throw this.#ended
    this.#progress = { event, json }
    this.#reporting ??= this.#sendProgress().finally(() => {
      this.#reporting = null
    })
  }

  receive({ id, refused }: Exclude<ToThread, { stop: StopCause }>): void {
    const waiting = this.#waiting.get(id)
    this.#waiting.delete(id)
    if (refused) waiting?.reject(new EventRefused(refused.code, refused.message))
    else waiting?.resolve()
  }

  /** Resolves when everything that was said is recorded, refused, or taken over. */
  async settled(): Promise<void> {
    await this.#reporting
    await this.#pending.empty()
  }

  async #sendProgress(): Promise<void> {
    while (this.#progress) {
      const { event, json } = this.#progress
      this.#progress = null
      try {
        await this.#send({ event, progress: json })
      } catch (error) {
        this.#ended = error as Error
      }
    }
  }

  #send(message: Omit<FromThread, 'id'>): Promise<void> {
    const id = ++this.#lastId
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject })
      this.#port.postMessage({ id, ...message } satisfies FromThread)
    })
  }
}
