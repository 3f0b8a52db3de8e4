// The only way out to the HTTP services of MILLRACE_HTTP_TARGETS. The address that a name resolves to is checked in
// the very lookup that the connection uses, so a name that changes its mind between check and connect (DNS
// rebinding) gains nothing.

import { lookup as systemLookup } from 'node:dns'
import type { LookupFunction } from 'node:net'
import { Agent, type Dispatcher, request } from 'undici'
import { isForbiddenAddress, isLoopbackHost } from '../shared/forbidden-addresses.ts'
import { checkHttpTarget, describeTarget, type HttpTarget, TargetNotAllowed } from '../shared/http-targets.ts'
import { HandlerError } from './handler-error.ts'

export interface HttpRequestOptions {
  signal: AbortSignal
  method?: Dispatcher.HttpMethod
  headers?: Record<string, string>
  body?: string | Buffer
  /** Replaces the system's name resolution. */
  lookup?: LookupFunction
}

/** Redirects that a GET follows, each only to where the list allows. */
const MAX_REDIRECTS = 5

/**
 * Sends a request to an allowed target and resolves at its response's head; the caller reads or destroys `body`.
 * There is no time limit but `signal`. A GET follows redirects that stay inside the list.
 *
 * Throws {@link TargetNotAllowed} (URL, redirect or address) or a HandlerError `target-unreachable` (no connection, no
 * answer; retryable). Rejects with the signal's reason when that is aborted.
 */
export async function openHttpTarget(
  targets: readonly HttpTarget[],
  url: string,
  options: HttpRequestOptions,
): Promise<Dispatcher.ResponseData> {
  let current = checkHttpTarget(targets, url)
  for (let hop = 0; hop <= MAX_REDIRECTS; hop++) {
    const response = await send(current, options)
    const location = redirectOf(response)
    if (location === null) return response
    response.body.on('error', () => {}).destroy()
    current = nextHop(targets, current, location, options)
  }
  throw new TargetNotAllowed(`${describeTarget(current)}: more than ${MAX_REDIRECTS} redirects`)
}

async function send(url: URL, options: HttpRequestOptions): Promise<Dispatcher.ResponseData> {
  const { lookup = systemLookup, signal, ...rest } = options
  const agent = new Agent({
    connect: { lookup: checkedLookup(lookup as LookupFunction) },
    headersTimeout: 0,
    bodyTimeout: 0,
  })
  try {
    const response = await request(url, { ...rest, signal, dispatcher: agent })
    agent.close().catch(() => {}) // Graceful: it waits for the body's end, and only frees the socket after it.
    return response
  } catch (error) {
    agent.destroy().catch(() => {})
    throw signal.aborted ? signal.reason : asHandlerError(error, url)
  }
}

/** What a broken connection means to a task: worth another attempt. Errors that say what they mean stay as they are. */
export function asHandlerError(error: unknown, url: URL): HandlerError | TargetNotAllowed {
  if (error instanceof HandlerError || error instanceof TargetNotAllowed) return error
  // With several addresses Node reports an AggregateError without a message.
  const first = error instanceof AggregateError ? error.errors[0] : error
  const reason = first instanceof Error ? first.message : String(first)
  return new HandlerError('target-unreachable', `${describeTarget(url)}: ${reason}`, {
    retryable: true,
    cause: error,
  })
}

function redirectOf(response: Dispatcher.ResponseData): string | null {
  const { location } = response.headers
  const isRedirect = [301, 302, 303, 307, 308].includes(response.statusCode)
  return isRedirect && typeof location === 'string' ? location : null
}

function nextHop(
  targets: readonly HttpTarget[],
  from: URL,
  location: string,
  options: HttpRequestOptions,
): URL {
  const to = URL.canParse(location, from.href) ? new URL(location, from) : null
  const where = `${describeTarget(from)} redirects to ${to === null ? 'an invalid URL' : describeTarget(to)}`
  // A body can't be sent twice, and headers may be secrets of the first origin.
  const repeatable =
    (options.method ?? 'GET') === 'GET' && (options.headers === undefined || to?.origin === from.origin)
  if (to === null || !repeatable) throw new TargetNotAllowed(`${where}, which is not followed`)
  try {
    return checkHttpTarget(targets, to)
  } catch {
    throw new TargetNotAllowed(`${where}, which MILLRACE_HTTP_TARGETS doesn't allow`)
  }
}

/** A lookup that hides forbidden addresses and fails if nothing else is left. Not asked for IP literals: they are in the list. */
function checkedLookup(lookup: LookupFunction): LookupFunction {
  return (hostname, options, callback) => {
    lookup(hostname, { ...options, all: true }, (error, found) => {
      if (error) return callback(error, [])
      const addresses = typeof found === 'string' ? [] : found
      const allowed = addresses.filter(
        ({ address }) => !isForbiddenAddress(address, isLoopbackHost(hostname)),
      )
      const [first] = allowed
      if (first === undefined) {
        callback(new TargetNotAllowed(`${hostname} resolves to an address that is not allowed`), [])
      } else if (options.all) {
        callback(null, allowed)
      } else {
        callback(null, first.address, first.family)
      }
    })
  }
}
