// The same in a thread, from which everything is copied.

import hostile from './hostile.mjs'

export default { ...hostile, type: 'hostile-in-thread', thread: true }
