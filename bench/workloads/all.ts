// The workloads in the order in which they run.

import type { Workload } from '../workload.ts'
import { CONNECTS, CONNECTS_WITH_KEY } from './connects.ts'
import { FAN_OUT } from './fan-out.ts'
import { IDLE_MEMORY } from './idle-memory.ts'
import { LATENCY_AT_REST } from './latency-at-rest.ts'
import { MANY_CHANNELS } from './many-channels.ts'
import { REPLAY_STORM } from './replay-storm.ts'
import { STALLED_READERS } from './stalled-readers.ts'
import { SUBMISSIONS } from './submissions.ts'
import { TASK_RUNS } from './task-runs.ts'

export const WORKLOADS: readonly Workload[] = [
  ...FAN_OUT,
  ...MANY_CHANNELS,
  REPLAY_STORM,
  IDLE_MEMORY,
  LATENCY_AT_REST,
  STALLED_READERS,
  CONNECTS,
  CONNECTS_WITH_KEY,
  ...SUBMISSIONS,
  ...TASK_RUNS,
]
