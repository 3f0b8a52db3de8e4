// Every name that may stand in Redis: what shared/keys.ts says, with the names in it that users may give.

import * as keys from '../../shared/keys.ts'

/** Channels, tasks, concurrency keys, digests: all that stands within a key. */
const NAME = '[A-Za-z0-9:._-]{1,128}'
const TASK_ID = '[A-Za-z0-9_-]{1,64}'

/** What BullMQ keeps of a queue itself. */
const QUEUE =
  'active|wait|paused|id|delayed|prioritized|stalled-check|completed|failed|stalled|repeat|limiter|meta|events|pc|marker|de'

const queue = (name: string, jobId: string) =>
  new RegExp(`^${escaped(`${keys.QUEUE_PREFIX}:${name}:`)}(?:${QUEUE}|${jobId}(?::lock)?)$`)

const DOCUMENTED: readonly RegExp[] = [
  ...Object.entries(keys).flatMap(([name, key]) =>
    /(?:_KEY|Key|Topic|TOPIC)$/.test(name) ? documented(key) : [],
  ),
  queue(keys.QUEUE_NAME, `task\\.${TASK_ID}`),
  queue(keys.SCHEDULE_QUEUE_NAME, 'repeat:[A-Za-z0-9_-]{1,50}(?::\\d+)?'),
  queue(keys.CALLBACK_QUEUE_NAME, `${TASK_ID}_\\d+-\\d+`),
]

export function undocumentedKeys(found: readonly string[]): string[] {
  return found.filter(key => !DOCUMENTED.some(pattern => pattern.test(key)))
}

/** A key, or what makes it of names. */
function documented(key: string | ((...names: never[]) => unknown)): RegExp {
  const text = typeof key === 'string' ? key : String(key(...(Array(key.length).fill('\0') as never[])))
  return new RegExp(`^${escaped(text).replaceAll('\0', () => NAME)}$`)
}

function escaped(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&')
}
