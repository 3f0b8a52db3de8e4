// The configuration: one schema for each process over the environment, parsed once. The only place that
// reads `process.env`.

import { z } from 'zod'
import { StartupError } from './startup-error.ts'

const DAY_MS = 24 * 60 * 60 * 1000
const LOOPBACK = /^(127(\.\d{1,3}){3}|::1|localhost)$/

const port = z.coerce.number().int().min(0).max(65_535)
const milliseconds = (min: number, max: number) => z.coerce.number().int().min(min).max(max)
const count = (min: number, max: number) => z.coerce.number().int().min(min).max(max)

/** The key of HS256 has at least the size of its hash (RFC 7518, 3.2). */
const MIN_JWT_SECRET_CHARS = 32

/** Standard Webhooks wants 24 to 64; from 16 on guessing is hopeless. */
const MIN_SECRET_BYTES = 16

function isWebhookSecret(text: string): boolean {
  const [, base64] = /^whsec_([A-Za-z0-9+/]+={0,2})$/.exec(text) ?? []
  return base64 !== undefined && Buffer.from(base64, 'base64').length >= MIN_SECRET_BYTES
}

/** As ioredis reads it; what does not pass is not shown, since it may hold a password. */
function isReadableUrl(text: string): boolean {
  try {
    const { username, password } = new URL(text)
    decodeURIComponent(username + password)
    return true
  } catch {
    return false
  }
}

/** Variables of both processes; `meta.description` is what docs/configuration.md says. */
const shared = {
  REDIS_URL: z
    .string()
    .regex(/^rediss?:\/\/.+/, 'must begin with redis:// or rediss://')
    .refine(
      isReadableUrl,
      'is not a URL such as redis://user:password@host:6379, with any other character encoded',
    )
    .default('redis://127.0.0.1:6379')
    .describe('Where Redis is.'),
  HOST: z.string().min(1).default('127.0.0.1').describe('The address to listen on. The image sets 0.0.0.0.'),
  LOG_LEVEL: z
    .enum(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'])
    .default('info')
    .describe('What is logged.'),
  MILLRACE_DRAIN_MS: milliseconds(0, 600_000)
    .default(8_000)
    .describe(
      'After SIGTERM: the gateway spreads the end of its streams over this long; the worker gives its running tasks this long to end before it hands them back.',
    ),
  MILLRACE_CHANNEL_MAX_EVENTS: count(1, 10_000_000)
    .default(10_000)
    .describe('Events that a channel keeps; older ones are trimmed.'),
  MILLRACE_CHANNEL_TTL_MS: milliseconds(1_000, 3_650 * DAY_MS)
    .default(DAY_MS)
    .describe('A channel without a new event for this long is forgotten.'),
  MILLRACE_TASK_MAX_EVENTS: count(1, 10_000_000)
    .default(10_000)
    .describe('Events that a task keeps; older ones are trimmed.'),
  MILLRACE_HTTP_TARGETS: z
    .string()
    .default('')
    .describe(
      'Where tasks and callbacks may send HTTP requests: comma-separated origins with an optional path prefix, `http://127.0.0.1:9000/jobs`. Empty: nowhere.',
    ),
  MILLRACE_WEBHOOK_SECRET: z
    .string()
    .refine(isWebhookSecret, `must be whsec_ and the base64 of at least ${MIN_SECRET_BYTES} bytes`)
    .optional()
    .describe(
      'Signs callbacks: `whsec_` and the base64 of at least 16 random bytes, the same for all. Without it a gateway takes no `callbackUrl`, and a worker delivers nothing.',
    ),
  MILLRACE_DEMO: z
    .enum(['on', 'off'])
    .default('off')
    .describe('The feeds of the demo pages: workers run them, and each process publishes samples of itself.'),
}

const gateway = z.object({
  ...shared,
  PORT: port.default(8080).describe('The port of the HTTP API and the pages; 0 takes a free one.'),
  MILLRACE_OPS_PORT: port
    .default(9464)
    .describe('The port of metrics and health (worker: 9465); 0 takes a free one.'),
  MILLRACE_AUTH: z
    .enum(['on', 'off'])
    .optional()
    .describe(
      'Access control. Unset: on with any of the keys below, else off, with which only a loopback address is listened on.',
    ),
  MILLRACE_API_KEYS: z
    .string()
    .optional()
    .describe('Keys of services: `name:secret`, or `name:secret:scope,scope`, separated by commas.'),
  MILLRACE_API_KEYS_FILE: z.string().optional().describe('A file with such keys, one a line.'),
  MILLRACE_JWT_SECRET: z
    .string()
    .min(MIN_JWT_SECRET_CHARS, `must have at least ${MIN_JWT_SECRET_CHARS} characters`)
    .optional()
    .describe('Checks JWTs of users (HS256), and signs tickets.'),
  MILLRACE_JWKS_URL: z
    .url({ protocol: /^https?$/, error: 'must be an http:// or https:// URL' })
    .optional()
    .describe('Where the public keys are that check JWTs of users (RS256, ES256, EdDSA and the like).'),
  MILLRACE_JWT_AUDIENCE: z.string().optional().describe('What the `aud` of a JWT has to hold.'),
  MILLRACE_JWT_ISSUER: z.string().optional().describe('What the `iss` of a JWT has to be.'),
  MILLRACE_CORS_ORIGINS: z
    .string()
    .default('')
    .describe(
      'Origins whose pages may use the API from a browser, comma-separated: `https://app.example`; `*`: any, but without cookies. Empty: those of its own origin alone.',
    ),
  MILLRACE_TRUSTED_PROXIES: z
    .string()
    .default('')
    .describe(
      "Proxies whose `X-Forwarded-For` is believed, comma-separated addresses and ranges: `10.0.0.0/8`. Empty: a client's address is that of its connection.",
    ),
  MILLRACE_RATE_LIMIT: count(0, 1_000_000)
    .default(0)
    .describe('Requests a second that one caller may send to all gateways together; 0: any number.'),
  MILLRACE_MAX_CONNECTIONS: count(1, 1_000_000)
    .default(20_000)
    .describe(
      'Event streams of one gateway, requests that wait for a task counted with them; a further one is answered 503, so that a load balancer tries another gateway.',
    ),
  MILLRACE_MAX_CONNECTIONS_PER_CALLER: count(0, 1_000_000)
    .default(10_000)
    .describe('Those of one caller on one gateway; 0: any number.'),
  MILLRACE_MAX_CONNECTIONS_PER_ADDRESS: count(0, 1_000_000)
    .default(10_000)
    .describe('Those of one address, or /64 of IPv6, on one gateway; 0: any number.'),
  MILLRACE_HEARTBEAT_MS: milliseconds(100, 600_000)
    .default(15_000)
    .describe('A silent event stream gets a comment this often.'),
  MILLRACE_WRITE_TIMEOUT_MS: milliseconds(100, 3_600_000)
    .default(30_000)
    .describe('An event stream whose client takes nothing for this long is closed; the client may resume.'),
  MILLRACE_MAX_CONNECTION_AGE_MS: milliseconds(1_000, 3_650 * DAY_MS)
    .default(60 * 60 * 1000)
    .describe(
      'An event stream ends at this age, or up to half of it earlier; its client resumes, so that clients spread over new gateways.',
    ),
  MILLRACE_TASK_RETAIN_MS: milliseconds(1_000, 3_650 * DAY_MS)
    .default(DAY_MS)
    .describe('How long a task and its events stay after its end, unless it says `retainMs`.'),
  MILLRACE_CONCURRENCY_PER_KEY: count(1, 1_000)
    .default(5)
    .describe('Tasks of one `concurrencyKey` that run at once, unless they say `concurrencyLimit`.'),
})

const worker = z.object({
  ...shared,
  MILLRACE_OPS_PORT: port.default(9465),
  MILLRACE_TASKS_DIR: z
    .string()
    .min(1)
    .optional()
    .describe('The folder of handler modules; unset: the tasks that ship.'),
  MILLRACE_CONCURRENCY: count(1, 10_000).default(10).describe('Tasks that one worker process runs at once.'),
})

export type GatewayConfig = z.infer<typeof gateway>
export type WorkerConfig = z.infer<typeof worker>

/** The schemas, for the test that keeps docs/configuration.md in step. */
export const CONFIG_SCHEMAS = { gateway, worker }

/**
 * Variables of what is not built yet. To ignore one would be worse than to stop: whoever sets it relies on it.
 */
const NOT_BUILT = {
  MILLRACE_REDIS_MODE: 'only a standalone Redis can be used yet',
} as const

/** What says of these no more than what is so. */
const HARMLESS: Readonly<Record<string, string>> = {
  MILLRACE_REDIS_MODE: 'standalone',
}

/** Reads a gateway's configuration; throws StartupError with a line that names the variable. */
export function gatewayConfig(env: NodeJS.ProcessEnv = process.env): GatewayConfig {
  const config = parse(gateway, env)
  if (config.MILLRACE_AUTH === 'on' && !namesCallers(config)) {
    throw new StartupError(
      'MILLRACE_AUTH: nobody could come in: set MILLRACE_API_KEYS, MILLRACE_API_KEYS_FILE, MILLRACE_JWT_SECRET or MILLRACE_JWKS_URL',
    )
  }
  if (config.MILLRACE_AUTH === undefined && !accessIsOn(config) && !LOOPBACK.test(config.HOST)) {
    throw new StartupError(
      `MILLRACE_AUTH: HOST=${config.HOST} is reachable from other machines and there are no keys: set MILLRACE_API_KEYS or another one of docs/access.md, or say MILLRACE_AUTH=off if everybody is meant to get in`,
    )
  }
  return config
}

/** Whether callers have to show who they are. */
export function accessIsOn(config: GatewayConfig): boolean {
  return config.MILLRACE_AUTH === undefined ? namesCallers(config) : config.MILLRACE_AUTH === 'on'
}

/** Whether there is anything by which a caller could be known. */
export function namesCallers(config: GatewayConfig): boolean {
  const { MILLRACE_API_KEYS, MILLRACE_API_KEYS_FILE, MILLRACE_JWT_SECRET, MILLRACE_JWKS_URL } = config
  return [MILLRACE_API_KEYS, MILLRACE_API_KEYS_FILE, MILLRACE_JWT_SECRET, MILLRACE_JWKS_URL].some(
    source => source !== undefined,
  )
}

/** Reads a worker's configuration; throws StartupError with a line that names the variable. */
export function workerConfig(env: NodeJS.ProcessEnv = process.env): WorkerConfig {
  return parse(worker, env)
}

function parse<T extends z.ZodObject>(schema: T, env: NodeJS.ProcessEnv): z.infer<T> {
  // An empty variable counts as unset: that is how Compose files pass on what isn't there.
  const given = Object.fromEntries(Object.entries(env).filter(([, value]) => value !== ''))
  for (const [name, why] of Object.entries(NOT_BUILT)) {
    if (given[name] !== undefined && given[name] !== HARMLESS[name]) throw new StartupError(`${name}: ${why}`)
  }
  const result = schema.safeParse(given)
  if (result.success) return result.data
  const [issue] = result.error.issues
  throw new StartupError(`${issue?.path.join('.')}: ${issue?.message}`)
}
