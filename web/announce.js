// Tells screen readers of what changes all the time, now and then.

const EVERY_MS = 15_000

let last = 0
let place

/** Says a text, unless something was said in the last 15 s. */
export function sayNowAndThen(text) {
  if (Date.now() - last < EVERY_MS) return
  last = Date.now()
  place ??= makePlace()
  place.textContent = text
}

function makePlace() {
  const region = Object.assign(document.createElement('p'), { className: 'unseen', ariaLive: 'polite' })
  document.body.append(region)
  return region
}
