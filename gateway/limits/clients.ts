// Whose a request is, for the limits that one client has.

import type { Context } from 'koa'
import { callerOf } from '../access/caller.ts'
import type { ClientAddresses } from './client-addresses.ts'

export interface Client {
  /** Its name; null where nobody is asked who they are. */
  readonly caller: string | null
  readonly address: string
}

/** Answers the client of a request whose caller is known by now, if ever. */
export type ClientOf = (ctx: Context) => Client

export function identifyClients(addresses: ClientAddresses): ClientOf {
  return ctx => {
    const { name, credential } = callerOf(ctx)
    return { caller: credential === 'none' ? null : name, address: addresses.of(ctx.req) }
  }
}
