// By what name a process is known to others: in the events of tasks, in what the demo shows.

import { hostname } from 'node:os'

/** One of its own for each process of a deployment: `<host>-<process id>`. */
export const PROCESS_NAME = `${hostname()}-${process.pid}`
