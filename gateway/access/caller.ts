// Who sends a request, and what they may do.

import type { Context } from 'koa'
import { EVERYTHING, NOTHING, type Patterns } from './patterns.ts'

/** What can be allowed. An API key has each of them for all names or not at all. No name has a colon: see api-keys.ts. */
export const SCOPES = ['tasks.read', 'tasks.write', 'subscribe', 'publish', 'schedules', 'tokens'] as const
export type Scope = (typeof SCOPES)[number]

/** The tasks (by id) or channels that are reached with each scope. */
export type Rights = Readonly<Record<Scope, Patterns>>

export interface Caller {
  /**
   * The same for all requests of one caller, on all gateways: what limits count by, and whose idempotency keys are
   * told apart. Any text of at most 140 characters; no secret.
   */
  readonly name: string
  /** `token` is what Millrace signs itself: tickets and minted tokens. `none` without access control. */
  readonly credential: 'none' | 'api-key' | 'jwt' | 'token'
  readonly rights: Rights
  /** The task types that it may submit, where it may submit at all. */
  readonly types: Patterns
  /** In ms since 1970; null = never. */
  readonly expiresAt: number | null
}

/** Each of some scopes for everything, and the others for nothing. */
export function rightsOf(scopes: readonly Scope[]): Rights {
  const rights = SCOPES.map(scope => [scope, scopes.includes(scope) ? EVERYTHING : NOTHING])
  return Object.fromEntries(rights) as Rights
}

/** Everybody, where there is no access control. */
const ANYBODY: Caller = {
  name: 'anonymous',
  credential: 'none',
  rights: rightsOf(SCOPES),
  types: EVERYTHING,
  expiresAt: null,
}

/** Who sends a request: as `ctx.state.caller` says, which nothing sets where there is no access control. */
export function callerOf({ state }: Pick<Context, 'state'>): Caller {
  return (state.caller as Caller | undefined) ?? ANYBODY
}
