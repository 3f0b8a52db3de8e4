// Two types of event on one channel: a counter and a clock.

import { type Feed, jsonEvent } from './feed.ts'

export const namedEvents: Feed = {
  channel: 'demo:named',
  next: last => (last ?? 0) + 1,
  events: (count, time) => [jsonEvent('counter', time, { count }), jsonEvent('clock', time, { time })],
}
