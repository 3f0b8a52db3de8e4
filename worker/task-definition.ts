// What a handler module may export, checked field by field. Unknown fields are refused: a misspelt `timeout`
// would otherwise silently mean the default.

import { z } from 'zod'
import { TASK_TYPE } from '../shared/task.ts'
import type { TaskDefinition } from './define-task.ts'

const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS

const definitionSchema = z.strictObject({
  type: z.string().regex(TASK_TYPE),
  input: z.custom<z.ZodType>(isZodSchema, 'must be a zod 4 schema').optional(),
  attempts: z.int().min(1).max(25).default(1),
  backoff: z
    .strictObject({
      type: z.enum(['fixed', 'exponential']),
      delayMs: z
        .int()
        .min(0)
        .max(30 * DAY_MS),
      jitter: z.number().min(0).max(1).optional(),
    })
    .optional(),
  timeoutMs: z
    .int()
    .min(1)
    .max(7 * DAY_MS)
    .default(HOUR_MS),
  concurrency: z.int().min(1).max(1_000).optional(),
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
