// Runs in a thread and does there what its input says.
import { appendFileSync } from 'node:fs'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { isMainThread } from 'node:worker_threads'

function busy(ms, file) {
  for (const from = performance.now(); performance.now() - from < ms; ) {
    if (file) appendFileSync(file, '.')
  }
}

const modes = {
  async speak(_, ctx) {
    for (let n = 0; n < 300; n++) {
      await ctx.output({ n })
      await ctx.progress(n / 3, `at ${n}`)
    }
    await ctx.emit('own', { attempt: ctx.attempt })
    await ctx.log('nearly done', 'warn')
    void ctx.output('last, and not awaited')
    await ctx.progress(100)
    return { id: ctx.id, isMainThread }
  },
  busy: ({ ms, file }) => busy(ms, file),
  async heed(_, { signal }) {
    await new Promise(resolve => signal.addEventListener('abort', resolve))
    throw signal.reason
  },
  flood: (_, ctx) => Promise.all(Array.from({ length: 5_000 }, (_, n) => ctx.output(n))),
  'too large': (_, ctx) => ctx.output('x'.repeat(70_000)),
  'no JSON': (_, ctx) => ctx.emit('own', 1n),
  exit: () => process.exit(3),
  'later error': () =>
    new Promise(() =>
      setTimeout(() => {
        throw new Error('nobody catches this')
      }, 1),
    ),
  'error behind': () => {
    setTimeout(() => {
      throw new Error('thrown too late')
    }, 20)
    return 'done'
  },
  string: () => Promise.reject('text'),
  null: () => Promise.reject(null),
  cyclic() {
    const error = new Error('round')
    error.cause = error
    throw error
  },
  final() {
    throw Object.assign(new Error('no'), { code: 'never', retryable: false })
  },
  bigint: () => 1n,
  function: () => () => 1,
  huge: () => 'x'.repeat(1024 * 1024),
  async stray() {
    void Promise.reject(new Error('unheard of'))
    await nextTurn()
    return 'done'
  },
}

export default {
  type: 'threaded',
  thread: true,
  run: (input, ctx) => modes[input.mode](input, ctx),
}
