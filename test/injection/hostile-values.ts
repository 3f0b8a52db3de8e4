// What an attacker writes: text that ends lines, headers, keys, scripts and tags, and JSON that breaks who reads it.

import fc from 'fast-check'

const MARKS = [
  '\r',
  '\n',
  '\r\n',
  '\u2028',
  '\u2029',
  '\u0085',
  '\0',
  '\uFEFF',
  '\uD800',
  '\uDC00',
  '\x1b[2J',
]

const PHRASES = [
  '\r\nX-Injected: 1\r\n\r\n<script>injected=1</script>',
  '%0d%0aX-Injected:%201',
  '\n\nevent: injected\ndata: {}\n\n',
  '\rid: 9-9\rdata: injected\r\r',
  'retry: 1\n',
  '__proto__',
  'constructor',
  'prototype',
  'toString',
  'then',
  '{mr}:tasks:wait',
  'mr:{task:injected}:state',
  'wait',
  '{',
  '}',
  '{}*?[a-z]\\',
  '*3\r\n$3\r\nSET\r\n$8\r\ninjected\r\n$1\r\n1\r\n',
  '\') redis.call("SET", "injected", 1) --',
  '%s %d %n {{injected}}',
  '<img src=x onerror="injected=1"><script>injected=1</script>',
  '../../../etc/passwd',
  '..%2f..%2f%00',
  '.',
  '..',
  '%',
  '%ff',
  'task:injected',
  '0',
  '-1',
  '9'.repeat(400),
]

const piece = fc.oneof(
  { weight: 3, arbitrary: fc.constantFrom(...PHRASES) },
  { weight: 2, arbitrary: fc.constantFrom(...MARKS) },
  fc.string({ unit: 'binary', maxLength: 8 }),
  fc.string({ maxLength: 8 }),
)

/** Also lone surrogates, which are no Unicode, and now and then more than any field takes. */
export const hostileText: fc.Arbitrary<string> = fc.oneof(
  { weight: 20, arbitrary: fc.array(piece, { maxLength: 4 }).map(pieces => pieces.join('')) },
  fc.constantFrom('x'.repeat(5_000), '\uD800'.repeat(3_000), '</script>'.repeat(1_000)),
)

const LITERALS = [
  'null',
  'true',
  '0',
  '-0',
  '-1',
  '1e-400',
  '1.0',
  '9007199254740993',
  '123456789012345678901234567890',
  '0.1000000000000000055511151231257827',
  '1e308',
]

/** An event says it twice at most, once of it as text in JSON. */
const MAX_JSON_CHARS = 20_000

const { value: anyJson } = fc.letrec<{ value: string }>(tie => ({
  value: fc.oneof(
    { maxDepth: 4, withCrossShrink: true },
    fc.oneof(fc.constantFrom(...LITERALS), hostileText.map(quoted)),
    fc.array(tie('value'), { maxLength: 3 }).map(items => `[${items.join()}]`),
    fc
      .array(fc.tuple(hostileText, tie('value')), { maxLength: 3 })
      .map(members => `{${members.map(([key, value]) => `${quoted(key)}:${value}`).join()}}`),
  ),
}))

/** JSON text of all kinds of values, with keys that come twice; it fits into a request and into an event. */
export const hostileJson: fc.Arbitrary<string> = anyJson.filter(json => json.length <= MAX_JSON_CHARS)

/** What has to be refused as a body, whatever it is for. */
export const jsonBombs: readonly (readonly [name: string, text: string])[] = [
  ['arrays in arrays, 10,000 deep', '['.repeat(10_000) + ']'.repeat(10_000)],
  ['objects in objects, 10,000 deep', '{"a":'.repeat(10_000) + '}'.repeat(10_000)],
  ['a depth without an end', '[{"__proto__":'.repeat(30_000)],
  ['one level too deep', '['.repeat(102) + ']'.repeat(102)],
  ['a number past all', '1e400'],
  ['a negative number past all', '{"type":"echo","input":{"n":-1e999}}'],
  ['what is no number', 'NaN'],
  ['a raw NUL', '{"type":"\0"}'],
  ['a raw line end', '{"type":"a\nb"}'],
  ['two values', '{}{}'],
  ['a byte order mark alone', '\uFEFF'],
  ['more than a megabyte', `["${'x'.repeat(1024 * 1024)}"]`],
]

export function quoted(text: string): string {
  return JSON.stringify(text)
}

/** The value that a reader has to get: what JSON can say of it. */
export function sameJson(text: string): string {
  return JSON.stringify(JSON.parse(text))
}
