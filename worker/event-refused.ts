// Why a handler's event was not taken.

export type EventRefusal =
  | 'event-late'
  | 'event-too-large'
  | 'invalid-event-type'
  | 'invalid-log-level'
  | 'invalid-progress'
  | 'not-serializable'
  | 'too-many-pending-events'
  | 'run-ended'

/** Rejects a call of the handler's context; unless caught it fails the attempt under its code. */
export class EventRefused extends Error {
  override readonly name = 'EventRefused'
  readonly code: EventRefusal

  constructor(code: EventRefusal, message: string) {
    super(message)
    this.code = code
  }
}
