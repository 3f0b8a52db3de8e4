// How requests are refused for what their sender is, or is not.

import { MillraceError } from '../../shared/errors.ts'

/** No credential, or one that is no good. */
export function unauthorized(detail: string): MillraceError {
  return new MillraceError('unauthorized', detail)
}

/** A good credential without the right that is needed. */
export function forbidden(detail: string): MillraceError {
  return new MillraceError('forbidden', detail)
}
