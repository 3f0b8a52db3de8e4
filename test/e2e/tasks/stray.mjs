// Leaves a rejected promise behind that nobody hears of.
import { setImmediate as nextTurn } from 'node:timers/promises'

export default {
  type: 'stray',
  async run() {
    void Promise.reject({ message: 'unheard' })
    await nextTurn()
    return 'done'
  },
}
