/** Reads an event stream over plain HTTP, without reconnecting: the tests decide where and when to resume. */
import { EventSourceParserStream } from 'eventsource-parser/stream'

export interface ReceivedEvent {
  readonly id: string
  readonly type: string
  readonly data: Record<string, unknown>
}

export interface OpenOptions {
  readonly lastEventId?: string
  readonly signal?: AbortSignal
}

/** Yields what arrives until the server ends the response; throws when the connection breaks. */
export async function* readEvents(url: string, options: OpenOptions = {}): AsyncGenerator<ReceivedEvent> {
  const headers = {
    Accept: 'text/event-stream',
    ...(options.lastEventId && { 'Last-Event-ID': options.lastEventId }),
  }
  const response = await fetch(url, { headers, signal: options.signal ?? null })
  if (response.status === 204) return
  if (!response.ok || !response.body) throw new Error(`${url} answered ${response.status}`)
  const events = response.body.pipeThrough(new TextDecoderStream()).pipeThrough(new EventSourceParserStream())
  for await (const { id, event, data } of events) {
    yield { id: id ?? '', type: event ?? 'message', data: JSON.parse(data) }
  }
}
