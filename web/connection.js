// Says in words how a page's connection stands, in its `#connection`, and in `#gaps` what its stream could not give.

const $ = selector => document.querySelector(selector)
let timer = 0

/** @param source a LiveSource, or whatever else has `onStatus` */
export function showConnection(source) {
  const [words, state, countdown, reason] = Array.from({ length: 4 }, () => document.createElement('span'))
  countdown.ariaHidden = true // a screen reader hears of the state, not of each second
  words.append(state, countdown, reason)
  $('#connection').replaceChildren(words)
  source.onStatus(status => {
    $('#connection').dataset.state = status.state
    if (state.textContent !== status.state) state.textContent = status.state
    reason.textContent = status.why && `: ${status.why}`
    clearTimeout(timer)
    countDown(countdown, status.retryAt)
  })
  source.addEventListener?.('gap', ({ data }) => {
    const { missed } = JSON.parse(data)
    $('#gaps').textContent = missed ? `${missed} events are no longer kept.` : 'The log began anew.'
  })
}

function countDown(place, endsAt) {
  const seconds = Math.ceil((endsAt - Date.now()) / 1_000)
  place.textContent = seconds > 0 ? ` in ${seconds} s` : ''
  if (seconds > 0) timer = setTimeout(countDown, 1_000, place, endsAt)
}
