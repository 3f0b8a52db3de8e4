// Whether a target's answer is one: what its status and encoding mean to the task that asked.

import type { Dispatcher } from 'undici'
import { HandlerError } from './handler-error.ts'
import { describeTarget } from './http-targets.ts'

/** Of what a service says with its refusal, for the error's message. */
const MAX_REASON_CHARS = 500
const REASON_TIMEOUT_MS = 1_000

/**
 * Throws a HandlerError for an answer that is none, and lets its connection go: `http-status` (anything but 2xx;
 * retryable on 5xx, 408 and 429, then with the pause of `Retry-After`), `unsupported-encoding` (compressed).
 */
export async function requireAnswer(response: Dispatcher.ResponseData, url: URL): Promise<void> {
  const { statusCode, headers, body } = response
  const where = describeTarget(url)
  if (statusCode < 200 || statusCode > 299) {
    const reason = await startOfText(response)
    const message = `${where} answered ${statusCode}${reason === '' ? '' : `: ${reason}`}`
    const retryable = statusCode >= 500 || statusCode === 408 || statusCode === 429
    throw new HandlerError('http-status', message, {
      retryable,
      retryAfterMs: retryable ? retryAfterMs(headers['retry-after'], Date.now()) : undefined,
    })
  }
  const encoding = headers['content-encoding'] ?? 'identity'
  if (encoding !== 'identity') {
    body.on('error', () => {}).destroy()
    throw new HandlerError('unsupported-encoding', `${where} answered compressed, as ${encoding}`, {
      retryable: false,
    })
  }
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
