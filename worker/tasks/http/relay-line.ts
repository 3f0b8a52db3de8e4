// What one message of a service does to its task.

import { z } from 'zod'
import type { TaskContext } from '../../define-task.ts'
import { EventRefused } from '../../event-refused.ts'
import { HandlerError } from '../../handler-error.ts'
import { type AnswerLine, invalidAnswer } from './answer-lines.ts'

// Further fields are let pass: a service may say more than this version knows.
const progressLine = z.object({
  percent: z.number().nullish(),
  message: z.string().nullish(),
  details: z.unknown().optional(),
})
const logLine = z.object({
  message: z.string(),
  level: z.enum(['debug', 'info', 'warn', 'error']).optional(),
})
const outputLine = z.object({ chunk: z.unknown() })
const errorLine = z.object({
  code: z.string().nullish(),
  message: z.string(),
  retryable: z.boolean().nullish(),
})

/**
 * Relays a message; resolves when it is recorded, with the result if it is the last. Throws what an `error` says, and
 * HandlerErrors that name the line: `invalid-answer`, or the code under which the context refuses an event.
 */
export async function relayLine(line: AnswerLine, context: TaskContext): Promise<{ result: unknown } | null> {
  const { type, value, where } = line
  try {
    switch (type) {
      case 'result':
        return { result: dataOf(value) }
      case 'error':
        throw failure(read(errorLine, line))
      case 'progress': {
        const { percent, message, details } = read(progressLine, line)
        await context.progress(percent ?? null, message ?? undefined, details)
        return null
      }
      case 'log': {
        const { message, level } = read(logLine, line)
        await context.log(message, level)
        return null
      }
      case 'output':
        await context.output(read(outputLine, line).chunk)
        return null
      default:
        await context.emit(type, dataOf(value))
        return null
    }
  } catch (error) {
    if (!(error instanceof EventRefused)) throw error
    throw new HandlerError(error.code, `${where} of the answer: ${error.message}`, { retryable: false })
  }
}

/** A service that puts its fields beside the type, and not in `data`, is understood: nothing that it says is lost. */
function dataOf({ type: _, ...fields }: AnswerLine['value']): unknown {
  if ('data' in fields) return fields.data
  return Object.keys(fields).length === 0 ? null : fields
}

function failure({ code, message, retryable }: z.output<typeof errorLine>): HandlerError {
  return new HandlerError(code || 'handler-error', message, { retryable: retryable ?? true })
}

function read<S extends z.ZodType>(schema: S, { where, type, value }: AnswerLine): z.output<S> {
  const parsed = schema.safeParse(value)
  if (parsed.success) return parsed.data
  const [issue] = parsed.error.issues
  throw invalidAnswer(`${where} of the answer (${type}): ${issue?.path.join('.')}: ${issue?.message}`)
}
