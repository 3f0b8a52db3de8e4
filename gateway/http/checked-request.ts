// Checks bodies and queries against zod schemas and says with paths what is wrong.

import type { Context } from 'koa'
import { z } from 'zod'
import { type ErrorCode, type FieldError, MillraceError } from '../../shared/errors.ts'

/** More faults than these are not reported; a reader mends some and asks again. */
export const MAX_FIELD_ERRORS = 20
const MAX_PATH_CHARS = 200

/** A query parameter that is a whole number between bounds. */
export function queryInteger(min: number, max: number) {
  const digits = z.string().regex(/^-?\d{1,15}$/, 'must be a whole number')
  return digits.transform(Number).pipe(z.int().min(min).max(max))
}

/** The body as the schema puts it out. Throws `invalid-body`; `path` is where the body stands within it. */
export function checkBody<S extends z.ZodType>(
  schema: S,
  body: unknown,
  path: readonly PropertyKey[] = [],
): z.output<S> {
  return check(schema, body, 'invalid-body', path)
}

/**
 * The query parameters that the schema names; others are left to who knows them. Throws `invalid-query`, also
 * for a parameter that is given twice.
 */
export function checkQuery<S extends z.ZodObject>(schema: S, ctx: Context): z.output<S> {
  const params = new URLSearchParams(ctx.querystring)
  const given = Object.keys(schema.shape).filter(name => params.has(name))
  const repeated = given.filter(name => params.getAll(name).length > 1)
  if (repeated.length > 0) {
    throw invalid(
      'invalid-query',
      repeated.map(path => ({ path, message: 'is given more than once' })),
    )
  }
  return check(schema, Object.fromEntries(given.map(name => [name, params.get(name)])), 'invalid-query', [])
}

/** A refusal that lists at most {@link MAX_FIELD_ERRORS} faults, the first of them in `detail` too. */
export function invalid(code: ErrorCode, errors: readonly FieldError[]): MillraceError {
  const [first] = errors
  const detail = first ? [first.path, first.message].filter(part => part !== '').join(': ') : ''
  return new MillraceError(code, detail, { errors: errors.slice(0, MAX_FIELD_ERRORS) })
}

/** A dotted path, cut short where a caller's own names make it long. */
export function dottedPath(parts: readonly PropertyKey[]): string {
  const path = parts.map(String).join('.')
  return path.length <= MAX_PATH_CHARS ? path : `${path.slice(0, MAX_PATH_CHARS)}…`
}

function check<S extends z.ZodType>(
  schema: S,
  value: unknown,
  code: ErrorCode,
  path: readonly PropertyKey[],
): z.output<S> {
  const result = schema.safeParse(value)
  if (result.success) return result.data
  throw invalid(
    code,
    result.error.issues.slice(0, MAX_FIELD_ERRORS).flatMap(issue => fieldErrors(issue, path)),
  )
}

function fieldErrors(issue: z.core.$ZodIssue, path: readonly PropertyKey[]): FieldError[] {
  const at = [...path, ...issue.path]
  if (issue.code !== 'unrecognized_keys') return [{ path: dottedPath(at), message: issue.message }]
  return issue.keys
    .slice(0, MAX_FIELD_ERRORS)
    .map(key => ({ path: dottedPath([...at, key]), message: 'is not a known field' }))
}
