// Who sends a request, and what they may do.

import type { Context } from 'koa'
import { EVERYTHING, type Patterns } from './patterns.ts'

/** What can be allowed. An API key has each of them for all names or not at all. */
type Scope = 'tasks.read' | 'tasks.write' | 'subscribe' | 'publish' | 'schedules' | 'tokens'

export interface Caller {
  /**
   * The same for all requests of one caller, on all gateways: what limits count by, and whose idempotency keys are
   * told apart. Any text of at most 140 characters; no secret.
   */
  readonly name: string
  /** `token` is what Millrace signs itself: tickets and minted tokens. `none` without access control. */
  readonly credential: 'none' | 'api-key' | 'jwt' | 'token'
  /** The tasks (by id) or channels that it reaches with each scope. */
  readonly rights: Readonly<Record<Scope, Patterns>>
  /** The task types that it may submit, where it may submit at all. */
  readonly types: Patterns
  /** In ms since 1970; null = never. */
  readonly expiresAt: number | null
}

/** Everybody, where there is no access control. */
const ANYBODY: Caller = {
  name: 'anonymous',
  credential: 'none',
  rights: {
    'tasks.read': EVERYTHING,
    'tasks.write': EVERYTHING,
    subscribe: EVERYTHING,
    publish: EVERYTHING,
    schedules: EVERYTHING,
    tokens: EVERYTHING,
  },
  types: EVERYTHING,
  expiresAt: null,
}

/** Who sends a request: as `ctx.state.caller` says, which nothing sets where there is no access control. */
export function callerOf({ state }: Pick<Context, 'state'>): Caller {
  return (state.caller as Caller | undefined) ?? ANYBODY
}
