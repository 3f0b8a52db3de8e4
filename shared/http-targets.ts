// The list of HTTP services that tasks may call and callbacks may go to (MILLRACE_HTTP_TARGETS). A URL has to match
// an entry by origin and path. Pure; worker/open-http-target.ts is what connects, and checks resolved addresses.

import { isIP } from 'node:net'
import { isForbiddenAddress } from './forbidden-addresses.ts'
import { StartupError } from './startup-error.ts'

/** One entry of the list. `path` has no slash at its end; empty: the whole origin. */
export interface HttpTarget {
  readonly origin: string
  readonly path: string
}

/** Fails a task as it is: it has the form of a handler's error. */
export class TargetNotAllowed extends Error {
  override readonly name = 'TargetNotAllowed'
  readonly code = 'target-not-allowed'
  readonly retryable = false
}

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
 * Throws {@link TargetNotAllowed} otherwise.
 */
export function checkHttpTarget(targets: readonly HttpTarget[], url: string | URL): URL {
  const parsed = URL.canParse(String(url)) ? new URL(url) : null
  if (parsed === null || !isHttp(parsed))
    throw new TargetNotAllowed('The URL is not an http:// or https:// URL')
  if (hasCredentials(parsed))
    throw new TargetNotAllowed(`${describeTarget(parsed)}: a URL must not carry credentials`)
  if (!targets.some(target => matches(target, parsed))) {
    throw new TargetNotAllowed(
      `${describeTarget(parsed)} is not among the targets that MILLRACE_HTTP_TARGETS allows`,
    )
  }
  return parsed
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
