// Reference (iii): BullMQ as it comes, with a processor that returns. No events, no record, no result, and a job that
// is lost more than once is given up without a word.

import { Worker } from 'bullmq'

const url = new URL(process.argv[2]!)
const worker = new Worker(process.env.BENCH_QUEUE!, async () => null, {
  connection: { host: url.hostname, port: Number(url.port), maxRetriesPerRequest: null },
  concurrency: Number(process.env.MILLRACE_CONCURRENCY),
  removeOnComplete: { count: 0 },
})
worker.on('error', error => process.stderr.write(`${error.message}\n`))
await worker.waitUntilReady()
process.send?.({ ready: true })
process.on('disconnect', () => process.exit())
