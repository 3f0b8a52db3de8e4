// A handler that says, throws and returns what no handler should. Its input names the way.

const cyclic = {}
cyclic.itself = cyclic

const deep = depth => {
  let value = 0
  for (let level = 0; level < depth; level++) value = [value]
  return value
}

const thrower = new Proxy(
  {},
  {
    get() {
      throw thrower
    },
    has() {
      throw thrower
    },
    ownKeys() {
      throw thrower
    },
    getPrototypeOf() {
      throw thrower
    },
  },
)

const VALUES = {
  cyclic: () => cyclic,
  bigint: () => 1n,
  symbol: () => Symbol('\r\nevent: injected'),
  function: () => () => undefined,
  deep: () => deep(10_000),
  deeper: () => deep(200_000),
  proxy: () => thrower,
  'throwing toJSON': () => ({
    toJSON() {
      throw thrower
    },
  }),
  'toJSON of nothing': () => ({ toJSON: () => undefined }),
  'toJSON of text': () => ({ toJSON: () => '\n\nevent: injected\ndata: {}\n\n' }),
  'changing toJSON': () => {
    let times = 0
    return { toJSON: () => (times++ === 0 ? 'first' : cyclic) }
  },
  'then that throws': () => ({
    // biome-ignore lint/suspicious/noThenProperty: that is the point
    get then() {
      throw thrower
    },
  }),
  'lone surrogates': () => ({ '\ud800': '\udc00' }),
  'own __proto__': () => JSON.parse('{"__proto__":{"injected":true}}'),
  error: () =>
    Object.assign(new Error('\n\nevent: injected\ndata: {}\n\n'), { code: '\r\nid: 9-9', retryable: false }),
  'endless array': () => ({ length: Number.POSITIVE_INFINITY, 0: 'x' }),
}

const WAYS = {
  output: (context, value) => context.output(value),
  emit: (context, value) => context.emit('own', value),
  'emit as': (context, value) => context.emit(value, 'data'),
  log: (context, value) => context.log(value),
  'log at': (context, value) => context.log('message', value),
  progress: (context, value) => context.progress(1, 'message', value),
  'progress of': (context, value) => context.progress(value),
  'progress with': (context, value) => context.progress(1, value),
  return: (_, value) => value,
  throw: (_, value) => {
    throw value
  },
}

export const VALUE_NAMES = Object.keys(VALUES)
export const WAY_NAMES = Object.keys(WAYS)

export default {
  type: 'hostile',
  run: ({ value, way }, context) => WAYS[way](context, VALUES[value]()),
}
