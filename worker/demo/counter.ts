// The counter: how many ticks there were, and when the last one was.

import { type Feed, jsonEvent } from './feed.ts'

export const counter: Feed = {
  channel: 'demo:counter',
  next: last => (last ?? 0) + 1,
  events: (count, time) => [jsonEvent('message', time, { count, time })],
}
