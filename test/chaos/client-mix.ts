// Which clients there are: a mix of every way to ask for events.

import { singleCursor, vectorCursor } from '../../gateway/stream/cursor.ts'
import { EVENT_TYPES } from './publisher.ts'
import type { Random } from './random.ts'
import type { Wanted } from './stream-client.ts'

/** Dealt out in turn, so that few clients have every kind among them too. */
const KINDS = [
  'one channel',
  'several',
  'tasks',
  'filtered',
  'one channel',
  'unnamed',
  'several',
  'one channel',
] as const
export type ClientKind = (typeof KINDS)[number]

const MAX_CHANNELS = 6

export function clientKinds(count: number): ClientKind[] {
  return Array.from({ length: count }, (_, i) => KINDS[i % KINDS.length]!)
}

/** What a client of this kind asks for; of the channels, few or one. */
export function wantedBy(
  kind: Exclude<ClientKind, 'tasks'>,
  channels: readonly string[],
  random: Random,
): Wanted {
  const several = kind === 'several' || (kind !== 'one channel' && random.chance(30))
  const picked = random.shuffle(channels).slice(0, several ? random.int(2, MAX_CHANNELS) : 1)
  const cursor = several ? vectorCursor(picked) : singleCursor(picked[0]!)
  const types = kind === 'filtered' ? random.shuffle(EVENT_TYPES).slice(0, random.int(1, 2)) : null
  const named = kind !== 'unnamed'
  const fromEarliest = random.chance(50)
  const query = new URLSearchParams()
  if (several) for (const channel of cursor.channels) query.append('channel', channel)
  if (types) query.set('types', types.join(','))
  if (!named) query.set('named', 'false')
  if (fromEarliest) query.set('from', 'earliest')
  const path = several ? '/v1/events' : `/v1/channels/${picked[0]}/events`
  return {
    cursor,
    path: `${path}?${query}`,
    envelope: several || !named,
    types: types && new Set(types),
    fromEarliest,
  }
}
