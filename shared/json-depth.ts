// How deep JSON may nest. What reads it further on (validators, JSON.stringify) recurses, and how deep it can differs
// between processes and threads: what one of them could still write, another one could not.

/** Arrays and objects within each other, in a request's body, an event's data and a task's result. */
export const MAX_JSON_DEPTH = 100

const QUOTE = 0x22
const BACKSLASH = 0x5c
const OPENING: ReadonlySet<number> = new Set([0x5b, 0x7b])
const CLOSING: ReadonlySet<number> = new Set([0x5d, 0x7d])

/** Whether a JSON text nests deeper than that many levels. */
export function isDeeperThan(maxDepth: number, json: string): boolean {
  // A level takes two characters; most texts are shorter than that.
  if (json.length <= 2 * maxDepth) return false
  let depth = 0
  for (let i = 0; i < json.length; i++) {
    const char = json.charCodeAt(i)
    if (char === QUOTE) i = endOfString(json, i)
    else if (OPENING.has(char) && ++depth > maxDepth) return true
    else if (CLOSING.has(char)) depth--
  }
  return false
}

/** Where the string ends that begins at `start`. */
function endOfString(json: string, start: number): number {
  let end = json.indexOf('"', start + 1)
  while (isEscaped(json, end)) end = json.indexOf('"', end + 1)
  return end
}

function isEscaped(json: string, at: number): boolean {
  let first = at
  while (json.charCodeAt(first - 1) === BACKSLASH) first--
  return (at - first) % 2 === 1
}
