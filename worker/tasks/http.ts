// Runs a task in any language: sends it as an HTTP request to a service among the allowed targets and relays what
// the service says while it works. The request is closed as soon as the task is cancelled, out of time or moved.

import { z } from 'zod'
import { VERSION } from '../../shared/version.ts'
import { defineTask, type TaskContext, type TaskDefinition } from '../define-task.ts'
import type { TaskEnvironment } from '../load-tasks.ts'
import { asHandlerError, openHttpTarget } from '../open-http-target.ts'
import { requireAnswer } from '../target-answer.ts'
import { headerName, headerValue } from './http/header-names.ts'
import { relayAnswer } from './http/relay-answer.ts'

const inputSchema = z.strictObject({
  url: z
    .url()
    .regex(/^https?:/)
    .max(8_192),
  method: z.enum(['GET', 'POST', 'PUT', 'PATCH', 'DELETE']).default('POST'),
  headers: z.record(headerName, headerValue).default({}),
  body: z.unknown().optional(),
})

type Input = z.infer<typeof inputSchema>

export function createTask({ httpTargets }: TaskEnvironment): TaskDefinition<Input> {
  return defineTask({
    type: 'http',
    input: inputSchema,
    attempts: 3,
    backoff: { type: 'exponential', delayMs: 1_000, jitter: 0.5 },
    async run({ url, method, headers, body }, context) {
      const target = new URL(url)
      const response = await openHttpTarget(httpTargets, url, {
        signal: context.signal,
        method,
        headers: requestHeaders(headers, body, context),
        ...(body !== undefined && { body: typeof body === 'string' ? body : JSON.stringify(body) }),
      })
      response.body.on('error', () => {}) // Whoever reads it hears of it.
      try {
        await requireAnswer(response, target)
        return await relayAnswer(response, context)
      } catch (error) {
        response.body.destroy()
        throw context.signal.aborted ? context.signal.reason : asHandlerError(error, target)
      }
    },
  })
}

/** The task's own headers, which a submitter can't set, and defaults for some that one can. */
function requestHeaders(given: Input['headers'], body: unknown, { id, attempt }: TaskContext) {
  const headers = new Headers({
    accept: 'application/json, application/x-ndjson, text/event-stream',
    'accept-encoding': 'identity',
    'user-agent': `millrace/${VERSION}`,
    ...(body !== undefined && {
      'content-type': typeof body === 'string' ? 'text/plain; charset=utf-8' : 'application/json',
    }),
  })
  for (const [name, value] of Object.entries(given)) headers.set(name, value)
  headers.set('millrace-task-id', id)
  headers.set('millrace-attempt', String(attempt))
  // The same for all attempts: what a service has done under it, it need not do again.
  headers.set('idempotency-key', id)
  return Object.fromEntries(headers)
}
