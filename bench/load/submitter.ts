// The process that submits tasks to a gateway, over keep-alive connections with one request in flight on each.

import { serveCommands } from '../command-process.ts'
import { PublishConnection } from './publish-connection.ts'
import { INPUT, type SubmitRequest, type SubmitTarget, type Submitted, submitLoop } from './submit-loop.ts'

/** As bench/workloads/submissions.ts announces it. */
const TASK = { type: 'noop', input: INPUT }

let lanes: (() => Promise<void>)[] = []
let tasksPerSubmission = 1

async function connect({ port, concurrency, batch }: SubmitTarget): Promise<void> {
  const path = batch ? '/v1/tasks/batch' : '/v1/tasks'
  const body = JSON.stringify(batch ? { tasks: new Array(batch).fill(TASK) } : TASK)
  tasksPerSubmission = batch || 1
  const open = Array.from({ length: concurrency }, () => PublishConnection.open(port))
  lanes = (await Promise.all(open)).map(connection => async () => {
    const answer = await connection.post(path, body)
    if (answer.includes('"problem"')) throw new Error(`not every task was accepted: ${answer.slice(0, 500)}`)
  })
}

const commands = {
  connect,
  submit: (request: SubmitRequest): Promise<Submitted> => submitLoop(lanes, tasksPerSubmission, request),
}
export type SubmitterCommands = typeof commands

serveCommands(commands)
