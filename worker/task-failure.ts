// What is recorded of whatever a handler throws, which can be anything. Pure.

import type { TaskError } from '../shared/task.ts'

const MAX_MESSAGE_CHARS = 2_000
const MAX_CODE_CHARS = 100
const MAX_STACK_CHARS = 8_000
const MAX_RETRY_AFTER_MS = 24 * 60 * 60 * 1000

/**
 * The error of a failed attempt: `code` if the thrown value has a string as code, else `handler-error`;
 * retryable unless the value says `retryable: false`. Never throws, however hostile the value.
 */
export function toTaskError(thrown: unknown): TaskError {
  const code = read(thrown, 'code')
  return {
    code: typeof code === 'string' && code !== '' ? code.slice(0, MAX_CODE_CHARS) : 'handler-error',
    message: messageOf(thrown).slice(0, MAX_MESSAGE_CHARS),
    retryable: read(thrown, 'retryable') !== false,
  }
}

/** The pause in ms that a thrown value asks for before the next attempt; 0 when it asks for none. */
export function retryAfterOf(thrown: unknown): number {
  const asked = read(thrown, 'retryAfterMs')
  return typeof asked === 'number' && asked > 0 ? Math.min(asked, MAX_RETRY_AFTER_MS) : 0
}

/** The stack of a thrown value for the log; absent when it has none. */
export function stackOf(thrown: unknown): string | undefined {
  const stack = read(thrown, 'stack')
  return typeof stack === 'string' ? stack.slice(0, MAX_STACK_CHARS) : undefined
}

function messageOf(thrown: unknown): string {
  const message = read(thrown, 'message')
  if (typeof message === 'string' && message !== '') return message
  const name = read(thrown, 'name')
  if (typeof name === 'string' && name !== '') return name
  try {
    if (typeof thrown === 'string') return thrown || 'the handler threw an empty string'
    return `the handler threw ${String(thrown)}`
  } catch {
    return 'the handler threw something that cannot be shown'
  }
}

// A getter or a proxy may throw.
function read(value: unknown, property: string): unknown {
  try {
    return (value as Record<string, unknown> | null | undefined)?.[property]
  } catch {
    return undefined
  }
}
