// Where the time of a CPU profile went: the functions that it was in, the most expensive first. Pure.

interface CallFrame {
  readonly functionName: string
  readonly url: string
  readonly lineNumber: number
}

interface CpuProfile {
  readonly nodes: readonly { readonly id: number; readonly callFrame: CallFrame }[]
  readonly samples: readonly number[]
  readonly timeDeltas: readonly number[]
}

const FUNCTIONS_SHOWN = 25
const PLACES_SHOWN = 12

/** Two lists as text: by function, and by package or folder. Shares are of the time that wasn't idle. */
export function selfTimes(profile: CpuProfile, root: string): string {
  const frames = new Map(profile.nodes.map(({ id, callFrame }) => [id, callFrame]))
  const functions = new Map<string, number>()
  const places = new Map<string, number>()
  let idle = 0
  let busy = 0
  profile.samples.forEach((id, i) => {
    const frame = frames.get(id)!
    const micros = profile.timeDeltas[i]!
    if (frame.functionName === '(idle)') {
      idle += micros
      return
    }
    busy += micros
    add(functions, functionOf(frame, root), micros)
    add(places, placeOf(frame, root), micros)
  })
  return [
    `busy ${((100 * busy) / (busy + idle)).toFixed(0)} % of ${((busy + idle) / 1e6).toFixed(1)} s; of that:`,
    ...mostOf(functions, busy, FUNCTIONS_SHOWN),
    'by place:',
    ...mostOf(places, busy, PLACES_SHOWN),
    '',
  ].join('\n')
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
