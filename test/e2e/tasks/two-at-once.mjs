// A type of which two tasks run at once.
import ticker from './ticker.mjs'

export default { ...ticker, type: 'two-at-once', concurrency: 2 }
