// Calls to the HTTP API, and their failures as one class. Knows nothing of the page.

const TIMEOUT_MS = 20_000

/** A failed call: `message` in words, `status` (0 if no answer came), `errors: [{path, message}]` of bad fields. */
export class Problem extends Error {
  constructor(message, status = 0, errors = []) {
    super(message)
    Object.assign(this, { status, errors })
  }
}

/** GETs, or POSTs `body` if there is one, and returns the JSON of the answer. Throws a {@link Problem}. */
export async function call(path, body) {
  const headers = { 'content-type': 'application/json' }
  const post = body && { method: 'POST', headers, body: JSON.stringify(body) }
  const response = await fetch(path, { ...post, signal: AbortSignal.timeout(TIMEOUT_MS) }).catch(() => {
    throw new Problem('The server does not answer.')
  })
  const answer = await response.json().catch(() => null)
  if (response.ok) return answer
  const message = answer?.detail ?? answer?.title ?? `The server answered ${response.status}.`
  throw new Problem(message, response.status, answer?.errors)
}
