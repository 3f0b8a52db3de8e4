// What HTTP in front of BullMQ can reach: Node's `http`, JSON.parse, `queue.add` or `queue.addBulk` awaited, and nothing
// else. No schema is looked at, no record kept, and what is answered is but the ids.

import { createServer, type ServerResponse } from 'node:http'
import { Queue } from 'bullmq'
import { Redis } from 'ioredis'
import { answer, withBody } from './bare-socket.ts'
import { listenForBench } from './bench-server.ts'

const OPTIONS = { removeOnComplete: true }

const queue = new Queue('bare', {
  connection: new Redis(process.argv[2]!, { maxRetriesPerRequest: null }),
})

interface Task {
  type: string
  input: unknown
}

async function submit(body: string, response: ServerResponse): Promise<void> {
  const { tasks, type, input } = JSON.parse(body) as Task & { tasks?: Task[] }
  const jobs = tasks
    ? await queue.addBulk(tasks.map(({ type, input }) => ({ name: type, data: input, opts: OPTIONS })))
    : [await queue.add(type, input, OPTIONS)]
  answer(response, JSON.stringify({ ids: jobs.map(job => job.id) }))
}

await queue.waitUntilReady()
listenForBench(createServer((request, response) => withBody(request, body => void submit(body, response))))
