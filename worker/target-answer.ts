// Whether a target's answer is one: what its status and encoding mean to the task that asked.

import type { Dispatcher } from 'undici'
import { describeTarget } from '../shared/http-targets.ts'
import { HandlerError } from './handler-error.ts'

/** Of what a service says with its refusal, for the error's message. */
const MAX_REASON_CHARS = 500
const REASON_TIMEOUT_MS = 1_000

/**
 * Throws a HandlerError `http-status` for anything but 2xx, and lets the connection go; retryable on 5xx, 408 and 429,
 * then with the pause of `Retry-After`.
 */
export async function requireSuccess(response: Dispatcher.ResponseData, url: URL): Promise<void> {
  const { statusCode, headers } = response
  if (statusCode >= 200 && statusCode <= 299) return
  const reason = await startOfText(response)
  const message = `${describeTarget(url)} answered ${statusCode}${reason === '' ? '' : `: ${reason}`}`
  const retryable = statusCode >= 500 || statusCode === 408 || statusCode === 429
  throw new HandlerError('http-status', message, {
    retryable,
    retryAfterMs: retryable ? retryAfterMs(headers['retry-after'], Date.now()) : undefined,
  })
}

/** Like requireSuccess; and throws `unsupported-encoding` for an answer that can't be read, since it is compressed. */
export async function requireAnswer(response: Dispatcher.ResponseData, url: URL): Promise<void> {
  await requireSuccess(response, url)
  const encoding = response.headers['content-encoding'] ?? 'identity'
  if (encoding === 'identity') return
  response.body.on('error', () => {}).destroy()
  const message = `${describeTarget(url)} answered compressed, as ${encoding}`
  throw new HandlerError('unsupported-encoding', message, { retryable: false })
}

/** `Retry-After` is seconds or a date (RFC 9110, 10.2.3); undefined when it is neither, or over. */
function retryAfterMs(value: string | string[] | undefined, now: number): number | undefined {
  if (typeof value !== 'string') return undefined
  const ms = /^\d+$/.test(value) ? Number(value) * 1_000 : Date.parse(value) - now
  return ms > 0 ? ms : undefined
}

/** The first bytes of a text, as one line; empty when it is none, or does not come soon. */
async function startOfText({ headers, body }: Dispatcher.ResponseData): Promise<string> {
  body.on('error', () => {})
  const timer = setTimeout(() => body.destroy(), REASON_TIMEOUT_MS)
  try {
    if (!/^text\/plain|json/.test(String(headers['content-type']))) return ''
    for await (const chunk of body) {
      return String(chunk).replace(/\s+/g, ' ').trim().slice(0, MAX_REASON_CHARS)
    }
  } catch {
    // The status alone has to do.
  } finally {
    clearTimeout(timer)
    body.destroy()
  }
  return ''
}
