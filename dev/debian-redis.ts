/**
 * Debian's and Ubuntu's own redis-server package, without root and without installing anything: apt
 * downloads and verifies it and the libraries that this machine lacks, dpkg unpacks them into a folder of
 * ours, and the loader is told where the libraries are.
 */
import { mkdir, mkdtemp, readdir, rename, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { checkVersion, localServer, type RedisSearch, type RedisServer } from './redis-server.ts'
import { runCommand } from './run-command.ts'

const APT_TIMEOUT_MS = 180_000
const UNPACK_TIMEOUT_MS = 60_000
/** A download that has been lying about for this long was interrupted. */
const ABANDONED_AFTER_MS = 3_600_000

/** The unpacked package, downloaded first if it isn't there or no longer runs. */
export async function debianRedis(search: RedisSearch): Promise<RedisServer> {
  const home = join(search.cacheDir, 'redis-server')
  const kept = await serverIn(home, search.env).catch(() => undefined)
  if (kept) return kept

  await runCommand('apt-get', ['--version'], { env: search.env, timeoutMs: APT_TIMEOUT_MS })
  await runCommand('dpkg', ['--version'], { env: search.env, timeoutMs: APT_TIMEOUT_MS })
  search.onProgress("downloading the distribution's own redis-server package with apt")
  await mkdir(search.cacheDir, { recursive: true })
  await removeAbandoned(search.cacheDir)
  const work = await mkdtemp(`${home}.partial-`)
  try {
    await download(work, search)
    await unpack(work, search)
    await serverIn(join(work, 'root'), search.env)
    await moveIntoPlace(join(work, 'root'), home, search.env)
  } finally {
    await rm(work, { recursive: true, force: true })
  }
  return serverIn(home, search.env)
}

async function serverIn(root: string, env: NodeJS.ProcessEnv): Promise<RedisServer> {
  const libraries = [...(await libraryFolders(root)), env.LD_LIBRARY_PATH].filter(Boolean).join(':')
  const withLibraries = { ...env, LD_LIBRARY_PATH: libraries }
  const binary = join(root, 'usr/bin/redis-server')
  const version = await checkVersion(binary, withLibraries)
  return localServer(
    binary,
    withLibraries,
    `redis-server ${version} of the distribution, unpacked in ${root}`,
  )
}

/** `usr/lib/<architecture>` and `lib/<architecture>`, whichever there are. */
async function libraryFolders(root: string): Promise<string[]> {
  const folders: string[] = []
  for (const parent of [join(root, 'usr/lib'), join(root, 'lib')]) {
    const names = await readdir(parent).catch(() => [])
    folders.push(...names.filter(name => name.includes('-linux-')).map(name => join(parent, name)))
  }
  return folders
}

/** With the system's package lists; where there are none or they are stale, with fresh ones of our own. */
async function download(work: string, search: RedisSearch): Promise<void> {
  await mkdir(join(work, 'archives/partial'), { recursive: true })
  await mkdir(join(work, 'lists/partial'), { recursive: true })
  const own = [...aptOptions(work), '-o', `Dir::State::lists=${join(work, 'lists')}`]
  try {
    await fetchPackages(aptOptions(work), search)
  } catch {
    // One unreachable third-party source fails the update as a whole, and still ours may be there.
    await apt([...own, 'update'], search).catch(() => undefined)
    await fetchPackages(own, search)
  }
}

/**
 * apt itself works out which libraries this machine lacks, so no list of names has to be kept per release.
 * `--reinstall` also downloads what is installed already, such as redis-tools, which holds the binary.
 */
function fetchPackages(options: string[], search: RedisSearch): Promise<string> {
  const flags = ['--yes', '--no-install-recommends', '--reinstall', '--download-only']
  return apt([...options, ...flags, 'install', 'redis-server', 'redis-tools'], search)
}

/** Nothing is written outside `work`, so neither root nor apt's locks are needed. */
function aptOptions(work: string): string[] {
  const settings = [
    `Dir::Cache=${join(work, 'cache')}`,
    `Dir::Cache::archives=${join(work, 'archives')}`,
    'Debug::NoLocking=1',
    'APT::Sandbox::User=root',
    'Acquire::Retries=2',
    'Acquire::http::Timeout=20',
  ]
  return ['-qq', ...settings.flatMap(setting => ['-o', setting])]
}

function apt(args: string[], { env, signal }: RedisSearch): Promise<string> {
  return runCommand('apt-get', args, { env: { ...env, LC_ALL: 'C' }, timeoutMs: APT_TIMEOUT_MS, signal })
}

async function unpack(work: string, { env, signal }: RedisSearch): Promise<void> {
  const archives = join(work, 'archives')
  const root = join(work, 'root')
  for (const name of await readdir(archives)) {
    if (!name.endsWith('.deb')) continue
    await runCommand('dpkg', ['-x', join(archives, name), root], {
      env,
      timeoutMs: UNPACK_TIMEOUT_MS,
      signal,
    })
  }
}

/** A rename, so nobody ever sees half a server. Whoever comes second keeps the first one's. */
async function moveIntoPlace(root: string, home: string, env: NodeJS.ProcessEnv): Promise<void> {
  try {
    await rename(root, home)
  } catch (error) {
    const works = await serverIn(home, env).catch(() => undefined)
    if (works) return
    await rename(home, `${root}.broken`).catch(() => undefined)
    await rename(root, home).catch(() => {
      throw error
    })
  }
}

async function removeAbandoned(cacheDir: string): Promise<void> {
  for (const name of await readdir(cacheDir)) {
    if (!name.startsWith('redis-server.partial-')) continue
    const path = join(cacheDir, name)
    const age = Date.now() - (await stat(path).then(found => found.mtimeMs, Date.now))
    if (age > ABANDONED_AFTER_MS) await rm(path, { recursive: true, force: true })
  }
}
