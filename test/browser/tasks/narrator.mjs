// Says `text` in every way that a task can, in two halves; the second begins when the file `gate` exists.

import { access } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { z } from 'zod'

const GATE_POLL_MS = 20

export default {
  type: 'narrator',
  input: z.object({
    text: z.string().default('line'),
    lines: z.int().min(2).max(500).default(20),
    speaker: z
      .string()
      .regex(/^[a-z]*$/)
      .default(''),
    gate: z.string().max(200).default(''),
  }),
  async run({ text, lines, speaker, gate }, context) {
    for (let line = 1; line <= lines; line++) {
      if (line > lines / 2) await opened(gate, context.signal)
      await context.log(`${line}: ${speaker} ${text}`)
      await context.progress((100 * line) / lines, text)
    }
    await context.output({ text })
    await context.emit('constructor', { text })
    return { text }
  },
}

async function opened(gate, signal) {
  while (
    gate &&
    !(await access(gate).then(
      () => true,
      () => false,
    ))
  ) {
    await sleep(GATE_POLL_MS, undefined, { signal })
  }
}
