// The process that adds jobs to bare BullMQ, on one connection, with as many calls in flight as are asked for.

import { Queue } from 'bullmq'
import { Redis } from 'ioredis'
import { serveCommands } from '../command-process.ts'
import { INPUT, type SubmitRequest, type SubmitTarget, type Submitted, submitLoop } from './submit-loop.ts'
import type { SubmitterCommands } from './submitter.ts'

const OPTIONS = { removeOnComplete: true }

let lanes: (() => Promise<void>)[] = []
let tasksPerSubmission = 1

async function connect({ redisUrl, concurrency, batch }: SubmitTarget): Promise<void> {
  const queue = new Queue('bare', { connection: new Redis(redisUrl, { maxRetriesPerRequest: null }) })
  await queue.waitUntilReady()
  const jobs = Array.from({ length: batch }, () => ({ name: 'noop', data: INPUT, opts: OPTIONS }))
  tasksPerSubmission = batch || 1
  lanes = Array.from({ length: concurrency }, () => async () => {
    await (batch ? queue.addBulk(jobs) : queue.add('noop', INPUT, OPTIONS))
  })
}

const commands: SubmitterCommands = {
  connect,
  submit: (request: SubmitRequest): Promise<Submitted> => submitLoop(lanes, tasksPerSubmission, request),
}

serveCommands(commands)
