// The counter: one channel, whose events have no name of their own, so that they are of the type `message`.

import { sayNowAndThen } from './announce.js'
import { showConnection } from './connection.js'
import { LiveSource } from './live-source.js'

const $ = selector => document.querySelector(selector)

const source = new LiveSource('/v1/channels/demo:counter/events?last=1')
showConnection(source)

source.addEventListener('message', ({ data }) => {
  const { count, time } = JSON.parse(data)
  $('#waiting').hidden = true
  $('#count').textContent = count
  $('#time').textContent = new Date(time).toLocaleTimeString()
  sayNowAndThen(`Count ${count}`)
})
