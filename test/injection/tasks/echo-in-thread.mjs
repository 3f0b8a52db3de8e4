// The same in a thread, to which input and events are copied.

import echo from './echo.mjs'

export default { ...echo, type: 'echo-in-thread', thread: true }
