// What becomes of the value that a handler returns. Pure.

import { isDeeperThan, MAX_JSON_DEPTH } from '../shared/json-depth.ts'
import type { TaskError } from '../shared/task.ts'
import { toTaskError } from './task-failure.ts'

/** Of the result as JSON, in bytes of UTF-8. */
export const MAX_RESULT_BYTES = 1024 * 1024

export type CheckedResult = { ok: true; result: unknown } | { ok: false; error: TaskError }

/**
 * The value as plain JSON; null for undefined. Another attempt would return the same again, so that a value
 * that can't be kept fails the task for good: `result-not-serializable` or `result-too-large`.
 */
export function checkResult(value: unknown): CheckedResult {
  let json: string | undefined
  try {
    json = JSON.stringify(value ?? null)
  } catch (error) {
    return fault('result-not-serializable', `the result is not JSON: ${toTaskError(error).message}`)
  }
  if (json === undefined)
    return fault('result-not-serializable', `the result is not JSON but a ${typeof value}`)
  const bytes = Buffer.byteLength(json)
  if (bytes > MAX_RESULT_BYTES)
    return fault('result-too-large', `the result has ${bytes} bytes of JSON, ${MAX_RESULT_BYTES} are allowed`)
  if (isDeeperThan(MAX_JSON_DEPTH, json))
    return fault('result-not-serializable', `the result nests deeper than ${MAX_JSON_DEPTH} levels`)
  // Plain from here on: whatever toJSON or a getter does, it does not run again.
  return { ok: true, result: JSON.parse(json) }
}

function fault(code: string, message: string): CheckedResult {
  return { ok: false, error: { code, message, retryable: false } }
}
