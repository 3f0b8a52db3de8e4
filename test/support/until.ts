/** Waiting on conditions. */
import { setTimeout as delay } from 'node:timers/promises'

const LIMIT_MS = 20_000
const STEP_MS = 20

/** Asks again and again until the answer is neither null, undefined nor false, and resolves with it. */
export async function until<T>(
  what: string,
  ask: () => T | Promise<T>,
): Promise<Exclude<T, null | undefined | false>> {
  for (const end = Date.now() + LIMIT_MS; Date.now() < end; await delay(STEP_MS)) {
    const answer = await ask()
    if (answer !== null && answer !== undefined && answer !== false) {
      return answer as Exclude<T, null | undefined | false>
    }
  }
  throw new Error(`not within ${LIMIT_MS} ms: ${what}`)
}
