/** How the sides of a workload take turns. */
import { describe, expect, test } from '@jest/globals'
import { runWorkload } from '../../bench/run-workload.ts'
import type { RunContext, Side, Turns, Workload } from '../../bench/workload.ts'

/** Writes down what happens; `figure` is the number of the turn of a side, from 0 for the one that sets it up. */
function logged(log: string[], more: Partial<Workload>, breaksAt = Infinity): Workload {
  async function* measure(side: Side, { part }: RunContext): Turns {
    log.push(`${side} up`)
    try {
      for (let turn = 0; ; turn++) {
        if (turn === breaksAt) throw new Error(`${side} breaks off`)
        log.push(`${side} ${turn}`)
        yield { figures: { turn, part }, limits: [] }
      }
    } finally {
      log.push(`${side} down`)
    }
  }
  const measures = [{ figure: 'turn', label: 'turn', unit: '', better: 'more' as const }]
  return { name: 'a', title: 'A', reference: 'a reference', measures, measure, ...more }
}

const options = (rounds: number) => ({
  scale: { warmUpMs: 0, measureMs: 0, share: 1 },
  rounds,
  neutralClient: null,
  profile: null,
  onStep: () => undefined,
})

describe('a workload', () => {
  test('whose load can be paused has all sides up and measures them in short turns, in changing order', async () => {
    const log: string[] = []
    const workload = logged(log, { ceiling: 'a ceiling', turnsPerRound: 2 })
    const { runs } = await runWorkload(workload, options(1))
    expect(log).toEqual([
      ...['reference up', 'reference 0', 'product up', 'product 0', 'ceiling up', 'ceiling 0'],
      ...['reference 1', 'product 1', 'ceiling 1', 'ceiling 2', 'product 2', 'reference 2'],
      ...['reference down', 'product down', 'ceiling down'],
    ])
    // The turn that came with setting up isn't counted.
    const counted = [1, 2].map(turn => ({ figures: { turn, part: 1 / 2 }, limits: [] }))
    expect(runs).toEqual({ reference: counted, product: counted, ceiling: counted })
  })

  test('whose load can not is set up anew for each round, one side after the other', async () => {
    const log: string[] = []
    const { runs } = await runWorkload(logged(log, {}), options(2))
    const reference = ['reference up', 'reference 0', 'reference down']
    const product = ['product up', 'product 0', 'product down']
    expect(log).toEqual([...reference, ...product, ...product, ...reference])
    expect(runs.product).toHaveLength(2)
  })

  test('is set up anew for each round, or once for all of them where that takes long', async () => {
    const [anew, once]: [string[], string[]] = [[], []]
    await runWorkload(logged(anew, { turnsPerRound: 2 }), options(2))
    const { runs } = await runWorkload(logged(once, { turnsPerRound: 2, staysUp: true }), options(2))
    expect(anew.filter(line => line.endsWith('up'))).toHaveLength(4)
    expect(once.filter(line => line.endsWith('up'))).toEqual(['reference up', 'product up'])
    expect(runs.product.map(({ figures }) => figures.turn)).toEqual([1, 2, 3, 4])
  })

  test('that breaks off in a later turn leaves nothing up', async () => {
    const log: string[] = []
    const broken = runWorkload(logged(log, { turnsPerRound: 4 }, 3), options(1))
    await expect(broken).rejects.toThrow('breaks off')
    expect(log.filter(line => line.endsWith('down')).sort()).toEqual(['product down', 'reference down'])
  })
})
