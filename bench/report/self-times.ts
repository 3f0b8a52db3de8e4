// Where the time of a CPU profile went: the functions that it was in, the most expensive first. Pure.

interface CallFrame {
  readonly functionName: string
  readonly url: string
  readonly lineNumber: number
}

interface CpuProfile {
  readonly nodes: readonly {
    readonly id: number
    readonly callFrame: CallFrame
    readonly children?: readonly number[]
  }[]
  readonly samples: readonly number[]
  readonly timeDeltas: readonly number[]
}

const FUNCTIONS_SHOWN = 25
const PLACES_SHOWN = 12
const OWN_SHOWN = 25

/** Where the build lies, and with it our own functions. */
const OWN_FOLDER = 'dist/'
const BENCH_FOLDER = ' dist/bench/'

/** Three lists as text: by function, by place, and of our own functions with what they call. Shares are of the time that wasn't idle. */
export function selfTimes(profile: CpuProfile, root: string): string {
  const frames = new Map(profile.nodes.map(({ id, callFrame }) => [id, callFrame]))
  const functions = new Map<string, number>()
  const places = new Map<string, number>()
  const own = new Map<string, number>()
  const parents = parentsOf(profile)
  let idle = 0
  let busy = 0
  profile.samples.forEach((id, i) => {
    const frame = frames.get(id)!
    const micros = profile.timeDeltas[i]!
    const callers = ownCallers(id, frames, parents, root)
    // The start of the profiler itself takes its time.
    if ([...callers].some(name => name.includes(BENCH_FOLDER))) return
    if (frame.functionName === '(idle)') {
      idle += micros
      return
    }
    busy += micros
    add(functions, functionOf(frame, root), micros)
    add(places, placeOf(frame, root), micros)
    for (const name of callers) add(own, name, micros)
  })
  return [
    `busy ${((100 * busy) / (busy + idle)).toFixed(0)} % of ${((busy + idle) / 1e6).toFixed(1)} s; of that:`,
    ...mostOf(functions, busy, FUNCTIONS_SHOWN),
    'by place:',
    ...mostOf(places, busy, PLACES_SHOWN),
    'our own functions, with what they call:',
    ...mostOf(own, busy, OWN_SHOWN),
    '',
  ].join('\n')
}

function parentsOf(profile: CpuProfile): Map<number, number> {
  const parents = new Map<number, number>()
  for (const { id, children = [] } of profile.nodes) for (const child of children) parents.set(child, id)
  return parents
}

/** Those of our own functions that a sample lies in, each once. */
function ownCallers(
  id: number,
  frames: ReadonlyMap<number, CallFrame>,
  parents: ReadonlyMap<number, number>,
  root: string,
): Set<string> {
  const names = new Set<string>()
  for (let at: number | undefined = id; at !== undefined; at = parents.get(at)) {
    const frame = frames.get(at)!
    if (pathOf(frame, root).startsWith(OWN_FOLDER)) names.add(functionOf(frame, root))
  }
  return names
}

function add(sums: Map<string, number>, key: string, value: number): void {
  sums.set(key, (sums.get(key) ?? 0) + value)
}

function mostOf(sums: ReadonlyMap<string, number>, whole: number, shown: number): string[] {
  return [...sums]
    .sort(([, a], [, b]) => b - a)
    .slice(0, shown)
    .map(([name, value]) => `${((100 * value) / whole).toFixed(1).padStart(5)} %  ${name}`)
}

function functionOf(frame: CallFrame, root: string): string {
  const name = frame.functionName || '(anonymous)'
  return frame.url === '' ? name : `${name}  ${pathOf(frame, root)}:${frame.lineNumber + 1}`
}

/** Frames without a file are system calls such as writev, garbage collection, and the engine itself. */
function placeOf(frame: CallFrame, root: string): string {
  if (frame.url === '') return frame.functionName.startsWith('(') ? frame.functionName : '(native calls)'
  if (frame.url.startsWith('node:')) return frame.url
  const path = pathOf(frame, root)
  return /node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(path)?.[1] ?? path.split('/').slice(0, -1).join('/')
}

function pathOf({ url }: CallFrame, root: string): string {
  return url.replace('file://', '').replace(`${root}/`, '')
}
