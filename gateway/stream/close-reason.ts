// Why a stream ended: the one table of reasons.

/** Label of `millrace_sse_connections_closed_total`; the text says what the client should make of it. */
const CLOSE_REASONS = {
  client: 'the client went away',
  ended: 'every task of the stream has ended: nothing more will come',
  gone: 'the task is not known any more: a reconnect is told so',
  slow: 'nothing could be written for too long: the client may resume',
  fault: 'the gateway failed: the client may resume',
  age: 'it was old enough: the client resumes, perhaps on a newer gateway',
  expired: 'its credential has expired: the client needs another one',
  drain: 'the gateway is shutting down: the client resumes on another one',
} as const

export type CloseReason = keyof typeof CLOSE_REASONS
