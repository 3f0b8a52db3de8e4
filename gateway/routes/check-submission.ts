// Checks what the form of a submission does not say: that some worker runs its type, that this takes its input, and
// that its callback may go where it is to go.

import type { MillraceError } from '../../shared/errors.ts'
import type { HttpTarget } from '../../shared/http-targets.ts'
import type { TaskType } from '../../shared/task-types.ts'
import { dottedPath, invalid } from '../http/checked-request.ts'
import type { InputValidator } from '../input-validator.ts'
import type { TaskTypeCache } from '../task-type-cache.ts'
import { checkCallbackUrl } from './callback-url.ts'
import type { Submission } from './submission.ts'

/** Names that the refusal of an unknown type lists at most. */
const MAX_LISTED_TYPES = 20

export interface CheckParts {
  readonly types: TaskTypeCache
  readonly validator: InputValidator
  /** Where callbacks may go; null where they can't be signed. */
  readonly callbackTargets: readonly HttpTarget[] | null
}

/**
 * Answers the submission's type: mostly at once, since a promise more would be paid by every task. Throws
 * `unknown-task-type`, `invalid-input`, or `invalid-body` for the callback's URL; `path` is where the submission stands
 * within the body.
 */
export function checkSubmission(
  submission: Pick<Submission, 'type' | 'input' | 'callbackUrl'>,
  { types, validator, callbackTargets }: CheckParts,
  path: readonly PropertyKey[] = [],
): TaskType | Promise<TaskType> {
  checkCallbackUrl(submission.callbackUrl, callbackTargets, path)
  const known = types.known(submission.type)
  if (known) return checkInput(submission.input, known, validator, path)
  return types.list().then(all => {
    const type = all.find(({ type }) => type === submission.type)
    if (!type) throw unknownType(all, dottedPath([...path, 'type']))
    return checkInput(submission.input, type, validator, path)
  })
}

/** Answers the type, if it takes the input. */
function checkInput(
  input: unknown,
  type: TaskType,
  validator: InputValidator,
  path: readonly PropertyKey[],
): TaskType {
  const faults = type.inputSchema ? validator.check(type.type, type.inputSchema, input) : []
  if (faults.length === 0) return type
  throw invalid(
    'invalid-input',
    faults.map(fault => ({ ...fault, path: dottedPath([...path, fault.path]) })),
  )
}

function unknownType(types: readonly TaskType[], path: string): MillraceError {
  const names = types.slice(0, MAX_LISTED_TYPES).map(({ type }) => type)
  const more = types.length > names.length ? ', …' : ''
  const known = names.length === 0 ? 'no worker has announced any' : `known are ${names.join(', ')}${more}`
  return invalid('unknown-task-type', [{ path, message: `no worker runs this type; ${known}` }])
}
