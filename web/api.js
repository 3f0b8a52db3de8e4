// Calls to the HTTP API, and their failures as one class. Knows nothing of the page.

const TIMEOUT_MS = 20_000

/** A failed call: `message` in words, `status` (0 if no answer came), `errors: [{path, message}]` of bad fields. */
export class Problem extends Error {
  constructor(message, status = 0, errors = []) {
    super(message)
    Object.assign(this, { status, errors })
  }
}

/**
 * GETs, or POSTs `body` if there is one, and returns the JSON of the answer. With a `key`, a call whose answer was lost
 * may be made again and is done once. Throws a {@link Problem}.
 */
export async function call(path, body, key) {
  const post = body && { method: 'POST', body: JSON.stringify(body) }
  const headers = {
    accept: 'application/json',
    ...(body && { 'content-type': 'application/json' }),
    ...(key && { 'idempotency-key': key }),
  }
  const signal = AbortSignal.timeout(TIMEOUT_MS)
  const response = await fetch(path, { ...post, headers, signal }).catch(() => {
    throw new Problem('The server does not answer.')
  })
  const answer = await response.json().catch(() => null)
  if (response.ok) return answer
  const message = answer?.detail ?? answer?.title ?? `The server answered ${response.status}.`
  throw new Problem(message, response.status, answer?.errors)
}
