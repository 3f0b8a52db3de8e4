// The list of HTTP services that tasks may call (MILLRACE_HTTP_TARGETS), and the only way out to them.
// A URL has to match an entry by origin and path; the address it resolves to is checked in the very lookup that
// the connection uses, so a name that changes its mind between check and connect (DNS rebinding) gains nothing.

import { lookup as systemLookup } from 'node:dns'
import { isIP, type LookupFunction } from 'node:net'
import { Agent, type Dispatcher, request } from 'undici'
import { StartupError } from '../shared/startup-error.ts'
import { isForbiddenAddress, isLoopbackHost } from './forbidden-addresses.ts'
import { HandlerError } from './handler-error.ts'

/** One entry of the list. `path` has no slash at its end; empty: the whole origin. */
export interface HttpTarget {
  readonly origin: string
  readonly path: string
}

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
 * Reads comma-separated origins with an optional path prefix: `http://127.0.0.1:9000/jobs,https://files.example`.
 * Throws a StartupError that names MILLRACE_HTTP_TARGETS and the entry that is wrong.
 */
export function parseHttpTargets(text: string): HttpTarget[] {
  return text
    .split(',')
    .map(entry => entry.trim())
    .filter(entry => entry !== '')
    .map(parseTarget)
}

function parseTarget(entry: string): HttpTarget {
  const url = URL.canParse(entry) ? new URL(entry) : null
  const shown = url !== null && hasCredentials(url) ? url.host : entry
  const fault = targetFault(url, entry)
  if (url === null || fault !== null) throw new StartupError(`MILLRACE_HTTP_TARGETS: "${shown}" ${fault}`)
  return { origin: url.origin, path: url.pathname.replace(/\/+$/, '') }
}

function targetFault(url: URL | null, entry: string): string | null {
  if (url === null || !isHttp(url)) return 'is not an http:// or https:// origin'
  if (hasCredentials(url)) return 'must not carry credentials'
  if (/[?#*]/.test(entry)) return 'must not have a query, a fragment or a "*"'
  if (isAmbiguousPath(url.pathname)) return 'has an encoded slash, dot or percent sign in its path'
  const host = url.hostname.replace(/^\[|\]$/g, '')
  if (isIP(host) !== 0 && isForbiddenAddress(host, true)) return 'is an address that is never a target'
  return null
}

/**
 * The parsed URL, if it matches an entry: same origin, and a path at or below the entry's, segment by segment.
 * Throws a HandlerError `target-not-allowed` otherwise.
 */
export function checkHttpTarget(targets: readonly HttpTarget[], url: string | URL): URL {
  const parsed = URL.canParse(String(url)) ? new URL(url) : null
  if (parsed === null || !isHttp(parsed)) throw notAllowed('The URL is not an http:// or https:// URL')
  if (hasCredentials(parsed)) throw notAllowed(`${describeTarget(parsed)}: a URL must not carry credentials`)
  if (!targets.some(target => matches(target, parsed))) {
    throw notAllowed(`${describeTarget(parsed)} is not among the targets that MILLRACE_HTTP_TARGETS allows`)
  }
  return parsed
}

/**
 * Sends a request to an allowed target and resolves at its response's head; the caller reads or destroys `body`.
 * There is no time limit but `signal`. A GET follows redirects that stay inside the list.
 *
 * Throws a HandlerError: `target-not-allowed` (URL, redirect or address, not retryable) or `target-unreachable`
 * (no connection, no answer; retryable). Rejects with the signal's reason when that is aborted.
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
  throw notAllowed(`${describeTarget(current)}: more than ${MAX_REDIRECTS} redirects`)
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

/** What a broken connection means to a task: worth another attempt. Errors that are HandlerErrors stay as they are. */
export function asHandlerError(error: unknown, url: URL): HandlerError {
  if (error instanceof HandlerError) return error
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
  if (to === null || !repeatable) throw notAllowed(`${where}, which is not followed`)
  try {
    return checkHttpTarget(targets, to)
  } catch {
    throw notAllowed(`${where}, which MILLRACE_HTTP_TARGETS doesn't allow`)
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
        callback(notAllowed(`${hostname} resolves to an address that is not allowed`), [])
      } else if (options.all) {
        callback(null, allowed)
      } else {
        callback(null, first.address, first.family)
      }
    })
  }
}

function matches(target: HttpTarget, url: URL): boolean {
  if (url.origin !== target.origin) return false
  if (target.path === '') return true
  if (isAmbiguousPath(url.pathname)) return false
  return url.pathname === target.path || url.pathname.startsWith(`${target.path}/`)
}

/**
 * A path that a server could read as another one than we do, and so leave the prefix: `new URL` resolves `..` and
 * `%2e%2e`, but not an encoded slash, a twice-encoded or overlong dot (`%c0%ae`), or the parameters that some
 * servers cut off (`..;`).
 */
function isAmbiguousPath(pathname: string): boolean {
  return /%(?![0-9a-f]{2})|%(?:00|25|2e|2f|3b|5c|c0|c1)|\\|\/\.\.?;/i.test(pathname)
}

function isHttp(url: URL): boolean {
  return url.protocol === 'http:' || url.protocol === 'https:'
}

function hasCredentials(url: URL): boolean {
  return url.username !== '' || url.password !== ''
}

/** A URL for messages: without the query, which may be a signature. */
export function describeTarget(url: URL): string {
  return `${url.origin}${url.pathname}`
}

function notAllowed(message: string): HandlerError {
  return new HandlerError('target-not-allowed', message, { retryable: false })
}
