// What fan-out can reach on Node: raw-http.ts less `res.write`. A ready Buffer, one `socket.write` a viewer.

import { createServer } from 'node:http'
import { answer, deliver, subscribe, withBody } from './bare-socket.ts'
import { channelOf, listenForBench } from './bench-server.ts'

const server = createServer((request, response) => {
  if (request.method !== 'POST') {
    subscribe(request, response)
    return
  }
  withBody(request, body => {
    deliver(channelOf(request), body)
    answer(response, '{}')
  })
})

listenForBench(server)
