// Named events: two types on one connection, each with a listener of its own.

import { sayNowAndThen } from './announce.js'
import { showConnection } from './connection.js'
import { LiveSource } from './live-source.js'

const $ = selector => document.querySelector(selector)

const source = new LiveSource('/v1/channels/demo:named/events?last=2')
showConnection(source)

source.addEventListener('counter', ({ data }) => {
  const { count } = JSON.parse(data)
  $('#waiting').hidden = true
  $('#counter').textContent = count
  sayNowAndThen(`Counter ${count}`)
})

source.addEventListener('clock', ({ data }) => {
  const { time } = JSON.parse(data)
  $('#clock').textContent = new Date(time).toLocaleTimeString()
})
