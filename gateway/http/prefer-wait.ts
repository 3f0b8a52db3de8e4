// The `Prefer: wait=N` header (RFC 7240, 4.3).

import type { Context } from 'koa'

/** One who wants to wait longer asks again. */
const MAX_WAIT_SECONDS = 60

const WAIT = /^\s*wait\s*=\s*(?:"(\d+)"|(\d+))\s*(?:;.*)?$/i

/**
 * How long the caller prefers to wait, in seconds, cut down to the longest time that is waited; null where it doesn't
 * say. What is not well-formed is left alone, as the RFC wants it of preferences.
 */
export function preferredWait(ctx: Context): number | null {
  for (const preference of ctx.get('Prefer').split(',')) {
    const match = WAIT.exec(preference)
    if (match) return Math.min(Number(match[1] ?? match[2]), MAX_WAIT_SECONDS)
  }
  return null
}
