// Where a submission may have its terminal event sent.

import { checkHttpTarget, type HttpTarget, TargetNotAllowed } from '../../shared/http-targets.ts'
import { dottedPath, invalid } from '../http/checked-request.ts'

/** Throws `invalid-body`. `targets` is null where callbacks can't be signed; `path` is where the submission stands. */
export function checkCallbackUrl(
  url: string | undefined,
  targets: readonly HttpTarget[] | null,
  path: readonly PropertyKey[],
): void {
  if (url === undefined) return
  const message = targets === null ? 'needs MILLRACE_WEBHOOK_SECRET, which is not set' : fault(url, targets)
  if (message !== null)
    throw invalid('invalid-body', [{ path: dottedPath([...path, 'callbackUrl']), message }])
}

function fault(url: string, targets: readonly HttpTarget[]): string | null {
  try {
    checkHttpTarget(targets, url)
    return null
  } catch (error) {
    if (error instanceof TargetNotAllowed) return error.message
    throw error
  }
}
