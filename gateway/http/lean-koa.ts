// Koa, less what it does for answers that it does not write.

import Koa, { type Context } from 'koa'
import { setCommonHeaders } from './answer.ts'

type Handle = (ctx: Context) => Promise<void>

interface KoaInside {
  handleRequest(ctx: Context, handle: Handle): Promise<void>
}

/**
 * Koa listens on the response and the socket of every request, to hear of answers that break off. Here most of them
 * leave in one write (`answerJson`), and nobody wants to know; what is left to Koa it watches over as ever.
 */
export class LeanKoa extends Koa {
  /** Called by Koa for each request, with all of the middleware as one function. */
  async handleRequest(ctx: Context, handle: Handle): Promise<void> {
    ctx.res.statusCode = 404
    try {
      await handle(ctx)
    } catch (error) {
      ctx.onerror(error as Error)
      return
    }
    if (ctx.respond === false) return
    setCommonHeaders(ctx)
    const { statusCode } = ctx.res
    const koa = Koa.prototype as unknown as KoaInside
    await koa.handleRequest.call(this, ctx, async () => {
      ctx.res.statusCode = statusCode
    })
  }
}
