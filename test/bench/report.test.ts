/** What the benchmark reports of its runs: medians, ratios, targets, the table, the picture. */
import { describe, expect, test } from '@jest/globals'
import { outcomeOf } from '../../bench/report/outcome.ts'
import { picture } from '../../bench/report/picture.ts'
import { selfTimes } from '../../bench/report/self-times.ts'
import { markdown, type Report } from '../../bench/report/table.ts'
import type { Delivery, Measure, Run, Target, Workload } from '../../bench/workload.ts'

const DELIVERED: Delivery = {
  expected: 100,
  received: 100,
  missing: 0,
  doubled: 0,
  reordered: 0,
  gaps: 0,
  closed: 0,
}

const run = (figure: number, delivery: Partial<Delivery> = {}, limits: string[] = []): Run => ({
  figures: { figure },
  delivery: { ...DELIVERED, ...delivery },
  limits,
})

function workload(target?: Target): Workload {
  const measure: Measure = { figure: 'figure', label: 'delivered', unit: 'events/s', better: 'more' }
  return {
    name: 'a-workload',
    title: 'A workload',
    reference: 'a reference',
    measures: [target ? { ...measure, target } : measure],
    async *measure() {},
  }
}

function reportOf(outcomes: Report['outcomes'], failures: Report['failures'] = []): Report {
  const machine = {
    millrace: '1.2.3',
    node: 'v20',
    redis: '7.0.15',
    cpu: 'A CPU',
    cores: 2,
    system: 'Linux',
    loadAverage: 0.1,
  }
  return { startedAt: '2026-01-01', seconds: 1, rounds: 3, quick: false, machine, outcomes, failures }
}

describe('an outcome', () => {
  test('compares the medians of both sides', () => {
    const runs = { reference: [run(10), run(1), run(11)], product: [run(30), run(900), run(20)] }
    expect(outcomeOf(workload(), runs).measures).toMatchObject([
      { reference: 10, product: 30, ratio: 3, met: null },
    ])
  })

  test('compares turn by turn, since the machine was as fast for both then, and says how the turns scatter', () => {
    const runs = { reference: [run(10), run(40), run(20)], product: [run(20), run(30), run(40)] }
    expect(outcomeOf(workload(), runs).measures).toMatchObject([
      {
        reference: 20,
        product: 30,
        ratio: 2,
        quartiles: { reference: [15, 30], product: [25, 35], ratio: [1.375, 2] },
      },
    ])
  })

  test('has beside what is to be reached what the ceiling reaches', () => {
    const runs = { reference: [run(10)], product: [run(20)], ceiling: [run(40)] }
    const ceiling = { ...workload({ kind: 'ratio-at-least', ratio: 5 }), ceiling: 'as little as can be' }
    expect(outcomeOf(ceiling, runs).measures).toMatchObject([
      { label: 'delivered', product: 20, ratio: 2, met: false },
      { label: 'delivered, by as little as can be', product: 40, ratio: 4, target: null, met: null },
    ])
  })

  test.each<[Target, number, boolean]>([
    [{ kind: 'ratio-at-least', ratio: 3 }, 30, true],
    [{ kind: 'ratio-at-least', ratio: 3 }, 29.9, false],
    [{ kind: 'ratio-at-most', ratio: 0.5 }, 5, true],
    [{ kind: 'ratio-at-most', ratio: 0.5 }, 5.1, false],
    [{ kind: 'at-most', value: 12 }, 12, true],
    [{ kind: 'at-most', value: 12 }, 12.1, false],
    [{ kind: 'at-most-more', more: 2 }, 12, true],
    [{ kind: 'at-most-more', more: 2 }, 12.1, false],
  ])('knows whether %j is met by %d against 10', (target, product, met) => {
    const runs = { reference: [run(10)], product: [run(product)] }
    expect(outcomeOf(workload(target), runs).measures[0]?.met).toBe(met)
  })

  test('that has no figures meets no target', () => {
    const runs = { reference: [run(Number.NaN)], product: [run(Number.NaN)] }
    expect(outcomeOf(workload({ kind: 'ratio-at-least', ratio: 3 }), runs).measures[0]?.met).toBe(false)
    expect(outcomeOf(workload({ kind: 'ratio-at-most', ratio: 3 }), runs).measures[0]?.met).toBe(false)
  })

  test.each(['missing', 'doubled', 'reordered', 'gaps', 'closed'] as const)(
    'with something %s in one of its runs meets no target, however fast',
    what => {
      const runs = { reference: [run(10), run(10)], product: [run(90), run(90, { [what]: 1 })] }
      const outcome = outcomeOf(workload({ kind: 'ratio-at-least', ratio: 3 }), runs)
      expect(outcome.measures[0]?.met).toBe(false)
      expect(outcome.faults).toHaveLength(1)
    },
  )

  test('has the ratio of the neutral client beside it, and its faults count too', () => {
    const runs = { reference: [run(10)], product: [run(90)] }
    const neutral = { reference: run(10), product: run(50, { doubled: 2 }) }
    const outcome = outcomeOf(workload({ kind: 'ratio-at-least', ratio: 3 }), runs, neutral)
    expect(outcome.measures[0]).toMatchObject({ neutralRatio: 5, met: false })
    expect(outcome.faults).toEqual(['product, neutral client: 2 doubled'])
  })
})

describe('the table', () => {
  test('says what was measured, what was to be reached, and whether it was', () => {
    const runs = { reference: [run(10_000)], product: [run(25_432)] }
    const met = outcomeOf(workload({ kind: 'ratio-at-least', ratio: 2 }), runs)
    const missed = outcomeOf(workload({ kind: 'ratio-at-most', ratio: 0.5 }), runs)
    const text = markdown(reportOf([met, missed]), 'a.svg')
    expect(text).toContain(
      '| A workload | delivered (events/s) | a reference | 10,000 | 25,432 | 2.54 | ≥ 2 | yes |',
    )
    expect(text).toContain('| 2.54 | ≤ 0.5 | **no** |')
    expect(text).toContain('Node v20, Redis 7.0.15, 2 × A CPU')
    expect(text).toContain('each viewer got each event once and in order')
  })

  test('says loudly what was lost, what broke off, and where the load client was the limit', () => {
    const limited = run(10, {}, ['the load client'])
    const lossy = outcomeOf(workload(), { reference: [limited, limited], product: [run(9, { missing: 7 })] })
    const text = markdown(reportOf([lossy], [{ name: 'other', reason: 'no Redis' }]), 'a.svg')
    expect(text).toContain('**a-workload: product: 7 missing**')
    expect(text).toContain('limited by more than the server (reference: the load client (2 turns))')
    expect(text).toContain('**other broke off: no Redis**')
    expect(text).not.toContain('each viewer got each event once')
  })
})

test('the picture is an SVG with each measure in it, and stands figures that are missing', () => {
  const whole = outcomeOf(workload({ kind: 'ratio-at-least', ratio: 2 }), {
    reference: [run(10)],
    product: [run(42)],
  })
  const broken = outcomeOf(workload(), { reference: [run(0)], product: [run(Number.NaN)] })
  const svg = picture([whole, broken])
  expect(svg).toMatch(/^<svg/)
  expect(svg).toContain('a-workload: delivered')
  expect(svg).toContain('4.20 ×')
})

test('self times leave out idleness, begin with the most expensive, and know who called whom', () => {
  const node = (id: number, functionName: string, url = '', children: number[] = []) => ({
    id,
    callFrame: { functionName, url, lineNumber: 6 },
    children,
  })
  const profile = {
    nodes: [
      node(1, '(idle)'),
      node(2, 'caller', 'file:///root/dist/gateway/a.js', [3]),
      node(3, 'called'),
      node(4, 'control', 'file:///root/dist/bench/b.js'),
    ],
    samples: [1, 2, 3, 3, 4],
    timeDeltas: [5_000, 1_000, 2_000, 2_000, 9_000],
  }
  expect(selfTimes(profile, '/root').trimEnd().split('\n')).toEqual([
    'busy 50 % of 0.0 s; of that:',
    ' 80.0 %  called',
    ' 20.0 %  caller  dist/gateway/a.js:7',
    'by place:',
    ' 80.0 %  (native calls)',
    ' 20.0 %  dist/gateway',
    'our own functions, with what they call:',
    '100.0 %  caller  dist/gateway/a.js:7',
  ])
})
