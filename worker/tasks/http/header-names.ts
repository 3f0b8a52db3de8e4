// The request headers that a submitter may set. As patterns, so that gateways can check them by JSON Schema.

import { z } from 'zod'

/** Those that frame the message, steer the connection, or are the broker's own. A `-` at the end stands for any rest. */
const RESERVED = [
  'accept-encoding',
  'connection',
  'content-encoding',
  'content-length',
  'expect',
  'host',
  'idempotency-key',
  'keep-alive',
  'millrace-',
  'proxy-',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]

// Names differ in case alone, and patterns of a JSON Schema know no flags.
const anyCase = (name: string) => name.replace(/[a-z]/g, letter => `[${letter.toUpperCase()}${letter}]`)
const reserved = RESERVED.map(name => anyCase(name) + (name.endsWith('-') ? '' : '$')).join('|')

/** A token (RFC 9110, 5.1) that is not reserved. */
export const headerName = z
  .string()
  .regex(new RegExp(`^(?!${reserved})[A-Za-z0-9!#$%&'*+.^_\`|~-]{1,256}$`), 'is not a header that may be set')

/** Visible characters of Latin-1, blanks and tabs between them: nothing that ends a header line. */
export const headerValue = z.string().regex(/^[\t\x20-\x7e\x80-\xff]*$/, 'is not a header value')
