// Every Redis key and pub/sub channel that Millrace uses. A channel's log, its task's state and its pub/sub
// name carry the same hash tag, so that one script may touch them in Redis Cluster.

import { taskChannel } from './event.ts'

/** Stream: the events of a channel. */
export const logKey = (channel: string): string => `mr:{${channel}}:log`

/** String: `<fingerprint> <id of its first event>` of an append to a channel that is done only once. */
export const onceKey = (channel: string, key: string): string => `mr:{${channel}}:once:${key}`

/** String: id of the last event of a task that was copied to a channel. */
export const copiedKey = (channel: string, taskId: string): string => `mr:{${channel}}:copied:${taskId}`

/** String, JSON: the state of the demo feed that appends to a channel. */
export const feedKey = (channel: string): string => `mr:{${channel}}:feed`

/** String, JSON: the request that an idempotency key stands for. `digest` is that of the key. */
export const idempotencyKey = (digest: string): string => `mr:idem:{${digest}}`

/** String: who holds the request, while a gateway works on it. */
export const idempotencyLeaseKey = (digest: string): string => `${idempotencyKey(digest)}:lease`

/** Number: requests that a caller has sent in this second; `:` and who it is follow. */
export const RATE_PREFIX = 'mr:rate'

/** Pub/sub name of a channel. */
export const topicKey = (channel: string): string => `mr:{${channel}}`

/** Pub/sub name on which a gateway hears itself. */
export const probeTopic = (gateway: string): string => `mr:probe:${gateway}`

/** Hash: the truth about a task. */
export const taskKey = (taskId: string): string => `mr:{${taskChannel(taskId)}}:state`

/** Sorted set of equal scores: a member for each retained task, so that order is by time, then id. */
export const INDEX_KEY = 'mr:index'

/** Sorted set like the index, of the tasks that have not ended. */
export const OPEN_KEY = 'mr:open'

/** A task's member in both: `<createdAt in ms, 13 digits>:<task id>`. */
export const taskMember = (task: { id: string; createdAt: number }): string =>
  `${String(task.createdAt).padStart(13, '0')}:${task.id}`

/** When the task of such a member was created, in ms since 1970. */
export const timeOfMember = (member: string): number => Number(member.slice(0, member.indexOf(':')))

/** The task id of such a member. */
export const taskIdOfMember = (member: string): string => member.slice(member.indexOf(':') + 1)

/** Hash: announced task types, type → JSON. */
export const TYPES_KEY = 'mr:types'

/** Pub/sub name on which workers hear of cancellations; the message is the task's id. */
export const CANCEL_TOPIC = 'mr:cancel'

/** String: held by the worker that does the current round of repairs. */
export const RECONCILER_KEY = 'mr:reconciler'

/** Hash: how far the rounds have come through each sorted set. */
export const RECONCILER_CURSORS_KEY = 'mr:reconciler:cursors'

/** Sorted set of equal scores: the ids of the schedules. */
export const SCHEDULES_KEY = 'mr:schedules'

/** Hash: schedule id → the id of the task that it submitted last. */
export const LAST_RUNS_KEY = 'mr:schedules:last'

/** String: what the gateways derive the key of their own tokens from. */
export const SIGNING_SECRET_KEY = 'mr:signing-secret'

/** BullMQ's prefix and queues; the braces keep its keys in one slot of a cluster. */
export const QUEUE_PREFIX = '{mr}'
export const QUEUE_NAME = 'tasks'
export const SCHEDULE_QUEUE_NAME = 'schedules'
export const CALLBACK_QUEUE_NAME = 'callbacks'
export const FEED_QUEUE_NAME = 'feeds'

/** What BullMQ calls so in the queue of tasks; '' = what all its keys begin with. */
export const queueKey = (name: string): string => `${QUEUE_PREFIX}:${QUEUE_NAME}:${name}`

// Those of concurrency keys lie in the slot of the queue, since one step touches several of them.

/** Sorted set: the tasks of a concurrency key that may be in the queue or run. */
export const slotsOfKey = (key: string): string => `{mr}:key:${key}:slots`

/** Sorted set: those that are held back. */
export const heldOfKey = (key: string): string => `{mr}:key:${key}:held`

/** Set: the tasks of all keys that are held back. */
export const HELD_KEY = '{mr}:held'

/** Number: how many were held back so far. */
export const HELD_COUNTER_KEY = '{mr}:held:count'

/** Sorted set of equal scores: the concurrency keys that have a task with a slot or one that is held back. */
export const KEYS_IN_USE_KEY = '{mr}:keys'
