// Counts aloud and heeds nothing: what it says tells which process said it.
import { setTimeout as sleep } from 'node:timers/promises'

export default {
  type: 'ticker',
  async run({ count, intervalMs }, context) {
    for (let n = 0; n < count; n++) {
      await context.output({ n, pid: process.pid })
      await sleep(intervalMs)
    }
    return count
  },
}
