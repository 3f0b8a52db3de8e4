// Koa, with what every request passes through in one function, less what it does for answers that it does not write.

import Koa, { type Context } from 'koa'
import { setCommonHeaders } from './answer.ts'

type Handle = (ctx: Context) => Promise<void>

/** What stands around the middleware. None of it throws. */
export interface RequestFrame {
  before(ctx: Context): void
  /** The middleware is through. */
  after(ctx: Context): void
  failed(ctx: Context, error: unknown): void
  /** In any case, at last; `startedAt` is of `performance.now()`. */
  answered(ctx: Context, startedAt: number): void
}

interface KoaInside {
  handleRequest(ctx: Context, handle: Handle): Promise<void>
}

/**
 * Koa listens on the response and the socket of every request, to hear of answers that break off. Here most of them
 * leave in one write (`answerJson`), and nobody wants to know; what is left to Koa it watches over as ever.
 */
export class LeanKoa extends Koa {
  readonly #frame: RequestFrame

  constructor(frame: RequestFrame) {
    super()
    this.#frame = frame
  }

  /** Called by Koa for each request, with all of the middleware as one function. */
  async handleRequest(ctx: Context, handle: Handle): Promise<void> {
    const frame = this.#frame
    const startedAt = performance.now()
    ctx.res.statusCode = 404
    frame.before(ctx)
    try {
      await handle(ctx)
      frame.after(ctx)
    } catch (error) {
      frame.failed(ctx, error)
    }
    frame.answered(ctx, startedAt)
    if (ctx.respond === false) return
    setCommonHeaders(ctx)
    const { statusCode } = ctx.res
    const koa = Koa.prototype as unknown as KoaInside
    await koa.handleRequest.call(this, ctx, async () => {
      ctx.res.statusCode = statusCode
    })
  }
}
