// How many requests a second one caller may send, counted in Redis for all gateways together. While Redis is away each
// gateway counts by itself.

import type { Redis } from 'ioredis'
import type { Context, Middleware } from 'koa'
import { RateLimiterMemory, RateLimiterRedis, RateLimiterRes } from 'rate-limiter-flexible'
import { MillraceError } from '../../shared/errors.ts'
import { RATE_PREFIX } from '../../shared/keys.ts'
import type { Client, ClientOf } from './clients.ts'

/** A caller may send all that it has for a second at once. The script counts in whole seconds. */
const WINDOW_S = 1

interface RateLimitParts {
  /** A connection of its own, which gives up soon: requests wait for it. */
  readonly redis: Redis
  readonly clientOf: ClientOf
  readonly requestsPerSecond: number
}

export interface RateLimit {
  /** Counts each request to the API, whatever its size, for its client. */
  readonly requests: Middleware
  /** Stands before it is known who the caller is: counts those whose credential is no good for their address. */
  readonly strangers: Middleware
}

/** Both throw `rate-limited`. Answers say how many are left, as draft-ietf-httpapi-ratelimit-headers-10 has it. */
export function limitRate({ redis, clientOf, requestsPerSecond: points }: RateLimitParts): RateLimit {
  const limiter = new RateLimiterRedis({
    storeClient: redis,
    keyPrefix: RATE_PREFIX,
    points,
    duration: WINDOW_S,
    // Who has used it all up is known to have, so that a flood costs Redis nothing.
    inMemoryBlockOnConsumed: points,
    rejectIfRedisNotReady: true,
    insuranceLimiter: new RateLimiterMemory({ points, duration: WINDOW_S }),
  })
  const policy = `"requests";q=${points};w=${WINDOW_S}`
  const count = async (ctx: Context): Promise<void> => {
    const { allowed, left, resetSeconds } = await consume(limiter, keyOf(clientOf(ctx)))
    ctx.set('RateLimit-Policy', policy)
    ctx.set('RateLimit', `"requests";r=${left};t=${resetSeconds}`)
    if (!allowed) throw new MillraceError('rate-limited', `only ${points} requests a second are taken`)
  }
  return {
    requests: async (ctx, next) => {
      // The rest is health, and pages, which are a few files in memory.
      if (ctx.path.startsWith('/v1/')) await count(ctx)
      return next()
    },
    strangers: async (ctx, next) => {
      try {
        await next()
      } catch (error) {
        if (error instanceof MillraceError && error.code === 'unauthorized') await count(ctx)
        throw error
      }
    },
  }
}

/** The first letter keeps a caller who is named like an address from counting as it. */
function keyOf({ caller, address }: Client): string {
  return caller === null ? `a:${address}` : `c:${caller}`
}

async function consume(limiter: RateLimiterRedis, key: string) {
  const standing = (result: RateLimiterRes, allowed: boolean) => ({
    allowed,
    left: result.remainingPoints,
    resetSeconds: Math.max(1, Math.ceil(result.msBeforeNext / 1000)),
  })
  try {
    return standing(await limiter.consume(key), true)
  } catch (result) {
    if (result instanceof RateLimiterRes) return standing(result, false)
    throw result
  }
}
