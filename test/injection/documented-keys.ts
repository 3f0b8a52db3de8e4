// Every name that may stand in Redis, as patterns made of shared/keys.ts with the names in them that users may give.

import * as keys from '../../shared/keys.ts'

const CHANNEL = '[A-Za-z0-9][A-Za-z0-9:._-]{0,127}'
const TASK_ID = '[A-Za-z0-9_-]{1,64}'
const DIGEST = '[A-Za-z0-9_-]{43}'
const UUID = '[0-9a-f-]{36}'

/** What BullMQ keeps of a queue itself. */
const QUEUE =
  'active|wait|paused|id|delayed|prioritized|stalled-check|completed|failed|stalled|repeat|limiter|meta|events|pc|marker|de'

const queue = (name: string, jobId: string) =>
  pattern('', `${keys.QUEUE_PREFIX}:${name}:`, `(?:${QUEUE}|${jobId}(?::(?:lock|logs))?)`)

const DOCUMENTED: readonly RegExp[] = [
  of(keys.logKey, CHANNEL),
  of(channel => keys.onceKey(channel, '\x01'), CHANNEL, DIGEST),
  of(channel => keys.copiedKey(channel, '\x01'), CHANNEL, TASK_ID),
  of(keys.taskKey, TASK_ID),
  of(keys.topicKey, CHANNEL),
  of(keys.probeTopic, UUID),
  of(keys.idempotencyKey, DIGEST),
  of(keys.idempotencyLeaseKey, DIGEST),
  of(keys.slotsOfKey, CHANNEL),
  of(keys.heldOfKey, CHANNEL),
  ...[
    keys.INDEX_KEY,
    keys.OPEN_KEY,
    keys.TYPES_KEY,
    keys.CANCEL_TOPIC,
    keys.RECONCILER_KEY,
    keys.RECONCILER_CURSORS_KEY,
    keys.SCHEDULES_KEY,
    keys.LAST_RUNS_KEY,
    keys.HELD_KEY,
    keys.HELD_COUNTER_KEY,
    keys.KEYS_IN_USE_KEY,
  ].map(key => pattern(key)),
  queue(keys.QUEUE_NAME, `task\\.${TASK_ID}`),
  queue(keys.SCHEDULE_QUEUE_NAME, 'repeat:[A-Za-z0-9_-]{1,50}(?::\\d+)?'),
  queue(keys.CALLBACK_QUEUE_NAME, `${TASK_ID}_\\d+-\\d+`),
]

export function undocumentedKeys(found: readonly string[]): string[] {
  return found.filter(key => !DOCUMENTED.some(documented => documented.test(key)))
}

/** `make` puts the first name where it is given `\0`, and a second one is wanted where it puts `\1`. */
function of(make: (name: string) => string, first: string, second = ''): RegExp {
  return pattern(make('\0'), '', '', first, second)
}

function pattern(key: string, prefix = '', suffix = '', first = '', second = ''): RegExp {
  const text = escaped(key)
    .replaceAll('\0', () => first)
    .replaceAll('\x01', () => second)
  return new RegExp(`^${escaped(prefix)}${text}${suffix}$`)
}

function escaped(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&')
}
