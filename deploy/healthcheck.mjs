// The health check of the image's containers: succeeds when every given URL answers 2xx.
// (The image has Node, but neither curl nor wget.)

const answers = await Promise.all(
  process.argv.slice(2).map(url => fetch(url, { signal: AbortSignal.timeout(4_000) })),
)
process.exit(answers.every(answer => answer.ok) ? 0 : 1)
