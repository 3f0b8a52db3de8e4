import { EventEmitter, once } from 'node:events'
import { createServer, type RequestListener, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, describe, expect, test } from '@jest/globals'
import { z } from 'zod'
import { parseHttpTargets } from '../../shared/http-targets.ts'
import { createTask } from '../../worker/tasks/csv-summary.ts'
import { type HandlerRun, runHandler } from './handler-run.ts'

const servers: Server[] = []

afterEach(() => {
  for (const server of servers.splice(0)) server.close().closeAllConnections()
})

/** The origin of a server on loopback. */
async function serve(handle: RequestListener): Promise<string> {
  const server = createServer(handle).listen(0, '127.0.0.1')
  servers.push(server)
  await once(server, 'listening')
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

function summarise(
  input: object,
  options: Parameters<typeof runHandler>[2] & { targets?: string } = {},
): HandlerRun {
  return runHandler(createTask({ httpTargets: parseHttpTargets(options.targets ?? '') }), input, options)
}

const summaryOf = (csv: string) => summarise({ csv }).result

describe('csv-summary of inline text', () => {
  test('counts rows, values, empties and distinct values, and measures numeric columns', async () => {
    const csv = 'name,score,note\nada,1.5,x\nbob,-2,\nada,1e1,x\neve,,"a, ""b""\nc"\n'
    expect(await summaryOf(csv)).toEqual({
      rows: 4,
      columns: [
        { name: 'name', count: 4, empties: 0, distinct: 3 },
        { name: 'score', count: 3, empties: 1, distinct: 3, min: -2, max: 10, mean: 9.5 / 3 },
        { name: 'note', count: 3, empties: 1, distinct: 2 },
      ],
    })
  })

  test.each(['1,0x10', '1,Infinity', '1,NaN', '1,1e999', '1, ', '1,1 2', '1,1.2.3', '1,.', '1,-'])(
    'does not take %j for numbers',
    async values => {
      const csv = `v\n${values.replace(',', '\n')}\n`
      expect(await summaryOf(csv)).toEqual({
        rows: 2,
        columns: [{ name: 'v', count: 2, empties: 0, distinct: 2 }],
      })
    },
  )

  test('reads numbers with signs, points, exponents and spaces around', async () => {
    expect(await summaryOf('v\n+1\n -.5 \n2.\n3E-1\n')).toMatchObject({
      columns: [{ min: -0.5, max: 2, mean: 0.7 }],
    })
  })

  test('leaves the mean out when the sum is not finite', async () => {
    const { columns } = (await summaryOf('v\n1e308\n1e308\n')) as { columns: object[] }
    expect(columns).toEqual([{ name: 'v', count: 2, empties: 0, distinct: 1, min: 1e308, max: 1e308 }])
  })

  test.each([
    ['nothing', '', { rows: 0, columns: [] }],
    ['blank lines only', '\n\r\n\n', { rows: 0, columns: [] }],
    ['a header only', 'a', { rows: 0, columns: [{ name: 'a', count: 0, empties: 0, distinct: 0 }] }],
    [
      'a byte order mark, CRLF and no line end at the end',
      '\ufeff"a"\r\nx\r\n\r\ny',
      { rows: 2, columns: [{ name: 'a', count: 2, empties: 0, distinct: 2 }] },
    ],
    [
      'mixed line ends',
      'a\r\nx\ny\rz\n',
      { rows: 3, columns: [{ name: 'a', count: 3, empties: 0, distinct: 3 }] },
    ],
    [
      'a quoted empty value',
      'a\n""\n',
      { rows: 1, columns: [{ name: 'a', count: 0, empties: 1, distinct: 0 }] },
    ],
    [
      'repeated and odd names',
      'a,a,__proto__\n1,x,y\n',
      {
        rows: 1,
        columns: [
          { name: 'a', count: 1, empties: 0, distinct: 1, min: 1, max: 1, mean: 1 },
          { name: 'a', count: 1, empties: 0, distinct: 1 },
          { name: '__proto__', count: 1, empties: 0, distinct: 1 },
        ],
      },
    ],
  ])('summarises %s', async (_what, csv, summary) => {
    expect(await summaryOf(csv)).toEqual(summary)
  })

  test('takes another delimiter', async () => {
    const { result } = summarise({ csv: 'a;b\n1,5;2\n', delimiter: ';' })
    expect(await result).toMatchObject({ columns: [{ name: 'a' }, { name: 'b', mean: 2 }] })
  })

  test.each([
    ['a row that is too short', 'a,b\n1,2\n3\n', 'row 2 (line 3): 1 values, unlike the header'],
    ['a row that is too long', 'a,b\n1,2,3\n', 'row 1 (line 2): 3 values, unlike the header'],
    ['a quote that is never closed', 'a,b\n1,2\n"3,4\n5,6\n', 'row 2 (line 4): a quote is never closed'],
    ['text after a closing quote', 'a\n"x"y\n', 'row 1 (line 2): a closing quote is followed by'],
    ['a quote inside a value', 'a\nx"y\n', 'row 1 (line 2): a quote stands inside a value'],
    ['a broken header', 'a"b,c\n', 'header (line 1): a quote stands inside a value'],
    ['a row without end', `a\n"${'x'.repeat(3_000_000)}`, 'row 1 (line 2): longer than 1048576 bytes'],
    ['a row of delimiters', `a\n${','.repeat(3_000_000)}`, 'row 1 (line 2): longer than 1048576 bytes'],
    ['too many columns', ','.repeat(1_000), 'header: 1001 columns, at most 1000 are allowed'],
  ])('fails for good on %s', async (_what, csv, message) => {
    const result = summaryOf(csv)
    await expect(result).rejects.toMatchObject({ code: 'invalid-csv', retryable: false })
    await expect(result).rejects.toThrow(message)
  })

  test('reads a long row and endless blank lines', async () => {
    const long = 'x'.repeat(900_000)
    expect(await summaryOf(`a\n${long}\n${'\n'.repeat(3_000_000)}${long}\n`)).toEqual({
      rows: 2,
      columns: [{ name: 'a', count: 2, empties: 0, distinct: 1 }],
    })
  })

  test('says "at least" for more distinct values than it tells apart', async () => {
    const lines = (n: number) =>
      Array.from({ length: n }, (_, i) => `${i},${i % 10_000},${'x'.repeat(100)}${i % 9}`)
    const summary = await summaryOf(['many,limit,long', ...lines(10_001)].join('\n'))
    expect(summary).toMatchObject({
      columns: [
        { name: 'many', count: 10_001, distinct: 10_000, distinctCapped: true, max: 10_000 },
        { name: 'limit', distinct: 10_000 },
        { name: 'long', distinct: 9 },
      ],
    })
    expect((summary as { columns: object[] }).columns[1]).not.toHaveProperty('distinctCapped')
  })

  test('tells fewer values apart where there are many columns', async () => {
    const row = (i: number) => Array.from({ length: 1_000 }, () => i).join()
    const rows = Array.from({ length: 300 }, (_, i) => row(i))
    const summary = await summaryOf([row(0), ...rows].join('\n'))
    expect(summary).toHaveProperty('columns.length', 1_000)
    expect(summary).toHaveProperty('columns.999.distinct', 100)
    expect(summary).toHaveProperty('columns.999.distinctCapped', true)
  })

  test('stops in the middle when it is aborted', async () => {
    const abort = new AbortController()
    const onProgress = () => abort.abort(new Error('cancelled by hand'))
    const { result } = summarise({ csv: `a\n${'x\n'.repeat(100_000)}` }, { signal: abort.signal, onProgress })
    await expect(result).rejects.toThrow('cancelled by hand')
  })

  test('ends with 100 percent and reports no row by row', async () => {
    const run = summarise({ csv: `a\n${'x\n'.repeat(100_000)}` })
    await run.result
    expect(run.progress.at(-1)).toEqual({ percent: 100, message: 'row 100000' })
    expect(run.progress.length).toBeLessThan(1_000)
  })
})

describe('csv-summary of a URL', () => {
  const csv = 'a,b\n1,é\n2,"x,y"\n'
  const summary = {
    rows: 2,
    columns: [
      { name: 'a', count: 2, empties: 0, distinct: 2, min: 1, max: 2, mean: 1.5 },
      { name: 'b', count: 2, empties: 0, distinct: 2 },
    ],
  }

  test('streams it, however its bytes are cut', async () => {
    const targets = await serve(async (_request, response) => {
      for (const byte of Buffer.from(csv)) {
        response.write(Buffer.of(byte))
        await new Promise(setImmediate)
      }
      response.end()
    })
    const run = summarise({ url: `${targets}/a.csv` }, { targets })
    expect(await run.result).toEqual(summary)
    expect(run.progress[0]).toEqual({ percent: null, message: 'row 0' })
  })

  test('reports percent by the length that the server tells', async () => {
    const row = 'x'.repeat(99)
    const head = Buffer.from(`a\n${`${row}\n`.repeat(600)}`)
    let finish = () => {}
    const targets = await serve((_request, response) => {
      response.writeHead(200, { 'content-length': head.length * 2 }).write(head)
      finish = () => response.end(Buffer.alloc(head.length, '\n'))
    })
    const run = summarise({ url: targets }, { targets, onProgress: () => finish() })
    expect(await run.result).toMatchObject({ rows: 600 })
    const [first] = run.progress
    expect(first?.percent).toBeGreaterThan(0)
    expect(first?.percent).toBeLessThanOrEqual(50)
    expect(run.progress.at(-1)).toEqual({ percent: 100, message: 'row 600' })
  })

  test.each([
    [404, false],
    [403, false],
    [408, true],
    [429, true],
    [500, true],
    [503, true],
  ])('fails on %i, retryable: %s', async (status, retryable) => {
    const targets = await serve((_request, response) => response.writeHead(status).end('a\n1\n'))
    const { result } = summarise({ url: targets }, { targets })
    await expect(result).rejects.toMatchObject({ code: 'http-status', retryable })
    await expect(result).rejects.toThrow(String(status))
  })

  test('wants another attempt when the answer breaks off', async () => {
    const targets = await serve((_request, response) => {
      response.writeHead(200, { 'content-length': 1_000 }).write(csv, () => response.destroy())
    })
    const { result } = summarise({ url: targets }, { targets })
    await expect(result).rejects.toMatchObject({ code: 'target-unreachable', retryable: true })
  })

  test('refuses compressed bytes', async () => {
    const targets = await serve((_request, response) =>
      response.writeHead(200, { 'content-encoding': 'gzip' }).end('?'),
    )
    const { result } = summarise({ url: targets }, { targets })
    await expect(result).rejects.toMatchObject({ code: 'unsupported-encoding', retryable: false })
  })

  test('refuses a URL that is not among the targets', async () => {
    const url = await serve((_request, response) => response.end(csv))
    await expect(summarise({ url }).result).rejects.toMatchObject({
      code: 'target-not-allowed',
      retryable: false,
    })
  })

  test('stops at once when it is aborted, and lets go of the connection', async () => {
    const closed = new EventEmitter()
    const isClosed = once(closed, 'close')
    const targets = await serve((_request, response) => {
      response.on('close', () => closed.emit('close'))
      response.write('a\n1\n')
    })
    const abort = new AbortController()
    const onProgress = () => abort.abort(new Error('cancelled by hand'))
    const { result } = summarise({ url: targets }, { targets, signal: abort.signal, onProgress })
    await expect(result).rejects.toThrow('cancelled by hand')
    await isClosed
  })

  test('lets go of a connection that still sends when a row is broken', async () => {
    const closed = new EventEmitter()
    const isClosed = once(closed, 'close')
    const targets = await serve((_request, response) => {
      response.on('close', () => closed.emit('close'))
      response.write(`a\n1,2\n${'3\n'.repeat(100)}`)
    })
    await expect(summarise({ url: targets }, { targets }).result).rejects.toThrow('row 1')
    await isClosed
  })
})

describe('input of csv-summary', () => {
  const { input } = createTask({ httpTargets: [] })

  test('is either csv or url', () => {
    const accepts = (value: unknown) => input?.safeParse(value).success
    expect(accepts({ csv: '' })).toBe(true)
    expect(accepts({ url: 'https://files.example/a.csv', delimiter: '\t' })).toBe(true)
    const refused = [
      {},
      { csv: '', url: 'https://files.example' },
      { url: 'ftp://a' },
      { url: 'x' },
      { csv: 1 },
    ]
    expect(refused.some(accepts)).toBe(false)
    expect(['', '"', '\n', ';;'].some(delimiter => accepts({ csv: '', delimiter }))).toBe(false)
  })

  test('says so in its JSON Schema too', () => {
    expect(z.toJSONSchema(input as z.ZodType, { io: 'input' })).toMatchObject({
      type: 'object',
      additionalProperties: false,
      oneOf: [{ required: ['csv'] }, { required: ['url'] }],
    })
  })
})
