// What a handler module may export, checked field by field. Unknown fields are refused: a misspelt `timeout`
// would otherwise silently mean the default.

import { z } from 'zod'
import { TYPE_FIELDS } from '../shared/task-types.ts'
import type { TaskDefinition } from './define-task.ts'

const HOUR_MS = 3_600_000

const definitionSchema = z.strictObject({
  ...TYPE_FIELDS,
  attempts: TYPE_FIELDS.attempts.default(1),
  timeoutMs: TYPE_FIELDS.timeoutMs.default(HOUR_MS),
  input: z.custom<z.ZodType>(isZodSchema, 'must be a zod 4 schema').optional(),
  thread: z.boolean().default(false),
  run: z.custom<TaskDefinition['run']>(value => typeof value === 'function', 'must be a function'),
})

/** A definition with its defaults filled in. */
export type CheckedDefinition = z.infer<typeof definitionSchema>

/** Throws an error whose message is one line and names every wrong field. */
export function checkDefinition(value: unknown): CheckedDefinition {
  const checked = definitionSchema.safeParse(value)
  if (checked.success) return checked.data
  const faults = checked.error.issues.map(issue => [...issue.path, issue.message].join(': '))
  throw new Error(faults.join('; '))
}

// zod 4 schemas, those of zod/mini and of another copy of zod included, carry their internals here; zod 3's don't.
function isZodSchema(value: unknown): boolean {
  return typeof value === 'object' && value !== null && '_zod' in value
}
