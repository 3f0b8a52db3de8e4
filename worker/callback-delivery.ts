// Delivers callbacks: sends the terminal events of tasks to the URLs that asked for them, signed by the convention
// of Standard Webhooks. Any answer but 2xx is tried again with growing pauses; what is given up at last, or is Gone,
// stays in the queue for a while as a dead letter.

import { type Job, UnrecoverableError, type Worker } from 'bullmq'
import type { Redis } from 'ioredis'
import { Webhook } from 'standardwebhooks'
import type { Callback } from '../shared/callback-queue.ts'
import type { HttpTarget } from '../shared/http-targets.ts'
import { CALLBACK_QUEUE_NAME } from '../shared/keys.ts'
import type { Logger } from '../shared/log.ts'
import { withTimeout } from '../shared/redis-connection.ts'
import { VERSION } from '../shared/version.ts'
import type { WorkerMetrics } from './metrics.ts'
import { openHttpTarget } from './open-http-target.ts'
import { createQueueWorker } from './queue-worker.ts'
import { requireSuccess } from './target-answer.ts'

/** Callbacks that one worker sends at once. A receiver that does not answer holds each for the time below. */
const CONCURRENCY = 50
const SEND_TIMEOUT_MS = 15_000
/** Of the answer, whose text nobody reads. */
const MAX_ANSWER_BYTES = 64 * 1024
const FAREWELL_MS = 1_000
/** When the worker stops; what is not answered by then is sent again later. */
const STOP_MS = 2_000
const STOP_MARGIN_MS = 1_000

export interface CallbackDeliveryParts {
  /** For commands; BullMQ opens a second connection like it, for waiting. It stays the caller's. */
  readonly redis: Redis
  readonly targets: readonly HttpTarget[]
  /** `whsec_<base64>` */
  readonly secret: string
  readonly metrics: Pick<WorkerMetrics, 'callbacks'>
  readonly log: Logger
}

export class CallbackDelivery {
  readonly #targets: readonly HttpTarget[]
  readonly #webhook: Webhook
  readonly #metrics: Pick<WorkerMetrics, 'callbacks'>
  readonly #log: Logger
  readonly #worker: Worker<Callback>
  readonly #sending = new Set<AbortController>()

  constructor({ redis, targets, secret, metrics, log }: CallbackDeliveryParts) {
    this.#targets = targets
    this.#webhook = new Webhook(secret)
    this.#metrics = metrics
    this.#log = log
    this.#worker = createQueueWorker<Callback>(CALLBACK_QUEUE_NAME, job => this.#deliver(job), {
      redis,
      concurrency: CONCURRENCY,
      log,
    })
    this.#worker.on('failed', (job, error) => this.#noteFailure(job, error))
  }

  start(): void {
    this.#worker
      .run()
      .catch(error => this.#log.error({ err: error }, 'the worker stopped delivering callbacks'))
  }

  async stop(): Promise<void> {
    const timer = setTimeout(() => {
      for (const sending of this.#sending) sending.abort(new Error('the worker shuts down'))
    }, STOP_MS)
    await withTimeout(this.#worker.close(), STOP_MS + STOP_MARGIN_MS)
      .catch(() => this.#log.warn('some callbacks are left to other workers'))
      .finally(() => clearTimeout(timer))
  }

  async #deliver(job: Job<Callback>): Promise<void> {
    const { url, body } = job.data
    if (body === '') return
    const sending = new AbortController()
    const timer = setTimeout(
      () => sending.abort(new Error(`no answer within ${SEND_TIMEOUT_MS} ms`)),
      SEND_TIMEOUT_MS,
    )
    this.#sending.add(sending)
    try {
      await this.#send(url, job.id ?? '', body, sending.signal)
    } finally {
      clearTimeout(timer)
      this.#sending.delete(sending)
    }
    this.#metrics.callbacks.inc({ outcome: 'delivered' })
    // The job stays for a while to be known; its body needs not.
    await job.updateData({ ...job.data, body: '' })
  }

  async #send(url: string, id: string, body: string, signal: AbortSignal): Promise<void> {
    const now = new Date()
    const response = await openHttpTarget(this.#targets, url, {
      signal,
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        'user-agent': `millrace/${VERSION}`,
        'webhook-id': id,
        'webhook-timestamp': String(Math.floor(now.getTime() / 1_000)),
        'webhook-signature': this.#webhook.sign(id, now, body),
      },
      body,
    })
    await requireSuccess(response, new URL(url)).catch(error => {
      // "Should disable the endpoint", says the convention of this status.
      throw response.statusCode === 410 ? new UnrecoverableError(error.message) : error
    })
    // A short text ends by itself; a long one, or one that does not come, is cut.
    void response.body
      .dump({ limit: MAX_ANSWER_BYTES, signal: AbortSignal.timeout(FAREWELL_MS) })
      .catch(() => undefined)
  }

  #noteFailure(job: Job<Callback> | undefined, error: Error): void {
    if (!job) return
    const about = {
      callback: job.id,
      task: job.data.taskId,
      attempt: job.attemptsMade,
      reason: error.message,
    }
    // Only a job that is given up has an end.
    const isDead = job.finishedOn !== undefined
    this.#metrics.callbacks.inc({ outcome: isDead ? 'dead' : 'failed' })
    if (isDead) this.#log.error(about, 'a callback is given up')
    else this.#log.warn(about, 'a callback was not delivered and is tried again')
  }
}
