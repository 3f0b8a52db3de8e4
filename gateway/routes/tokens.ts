// POST /v1/tokens

import type Router from '@koa/router'
import { z } from 'zod'
import { callerOf } from '../access/caller.ts'
import { patternList } from '../access/patterns.ts'
import { lacks, mayWatchAll } from '../access/rights.ts'
import type { SubscriberTokens } from '../access/subscriber-tokens.ts'
import { answerJson } from '../http/answer.ts'
import { checkBody } from '../http/checked-request.ts'
import { readJson } from '../http/request-body.ts'

const MAX_TTL_SECONDS = 24 * 60 * 60

/** A token has to fit into a URL. */
const MAX_PATTERN_CHARS = 2_048

const bodySchema = z.strictObject({
  subscribe: patternList
    .min(1)
    .refine(
      patterns => patterns.join('').length <= MAX_PATTERN_CHARS,
      `has more than ${MAX_PATTERN_CHARS} characters in all`,
    ),
  ttlSeconds: z
    .int()
    .min(1)
    .max(MAX_TTL_SECONDS)
    .default(15 * 60),
})

/** Mints a token by which somebody else may watch channels for a while. */
export function tokensRoute(router: Router, { tokens }: { tokens: SubscriberTokens }): void {
  router.post('/v1/tokens', async ctx => {
    const { subscribe, ttlSeconds } = checkBody(bodySchema, await readJson(ctx))
    const caller = callerOf(ctx)
    subscribe.forEach((pattern, i) => {
      if (!mayWatchAll(caller, pattern)) throw lacks('may not watch all of this itself', ['subscribe', i])
    })
    // In whole seconds, as the token has it; rounded up, so that the shortest life is not none.
    const expiresAt = Math.ceil(Date.now() / 1000 + ttlSeconds) * 1000
    answerJson(ctx, 201, {
      token: tokens.sign({ subscribe, expiresAt }),
      expiresAt: new Date(expiresAt).toISOString(),
    })
  })
}
