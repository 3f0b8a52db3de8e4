// The stock ticker: each chosen stock is a channel, and all of them come over one connection.

import { sayNowAndThen } from './announce.js'
import { showConnection } from './connection.js'
import { EventStream } from './event-stream.js'
import { drawSparkline, makeSparkline } from './sparkline.js'

const HISTORY = 120
const FIRST_CHOICE = ['FLOUR', 'GRIST', 'WHEEL']

const $ = selector => document.querySelector(selector)
const boxes = [...document.querySelectorAll('[name=symbol]')]
const channelOf = symbol => `demo:stock:${symbol}`
const cards = new Map() // channel → { element, prices, … }
const stream = new EventStream({ onEvent, last: HISTORY })

function onEvent({ channel, type, data }) {
  const card = cards.get(channel)
  if (type === 'gap') card.prices.length = 0 // a line over a hole would be a guess
  if (type !== 'price' || !Number.isFinite(data?.price)) return
  card.prices.push(data.price)
  if (card.prices.length > HISTORY) card.prices.shift()
  card.data = data
  card.frame ||= requestAnimationFrame(() => draw(card))
}

function draw(card) {
  const { element, symbol, prices, data } = card
  const { price, change, changePercent } = data
  const [arrow, word] = change > 0 ? ['▲', 'up'] : change < 0 ? ['▼', 'down'] : ['▬', 'level']
  card.frame = 0
  element.dataset.trend = word
  element.querySelector('.price').textContent = price.toFixed(2)
  element.querySelector('.arrow').textContent = arrow
  element.querySelector('.change').textContent = `${signed(change)} (${signed(changePercent)} %)`
  drawSparkline(element.querySelector('svg'), prices)
  sayNowAndThen(`${symbol} ${price.toFixed(2)}, ${word}`)
}

function signed(value) {
  return Number(value).toLocaleString('en', { signDisplay: 'exceptZero', minimumFractionDigits: 2 })
}

function makeCard(symbol) {
  const element = document.querySelector('#stock').content.cloneNode(true).firstElementChild
  element.querySelector('h2').textContent = symbol
  element.querySelector('h2').after(makeSparkline())
  return { element, symbol, prices: [], frame: 0 }
}

/** Follows what is ticked, and keeps it in the address. */
function choose() {
  const symbols = boxes.filter(({ checked }) => checked).map(({ value }) => value)
  history.replaceState(null, '', `?symbols=${symbols}`)
  const wanted = new Map(symbols.map(symbol => [channelOf(symbol), symbol]))
  for (const channel of cards.keys()) {
    if (wanted.has(channel)) continue
    cards.delete(channel)
    stream.drop(channel)
  }
  for (const [channel, symbol] of wanted) if (!cards.has(channel)) cards.set(channel, makeCard(symbol))
  $('#stocks').replaceChildren(...[...wanted.keys()].map(channel => cards.get(channel).element))
  stream.add([...wanted.keys()])
}

const asked = new URLSearchParams(location.search).get('symbols')?.split(',') ?? FIRST_CHOICE
for (const box of boxes) box.checked = asked.includes(box.value)
$('#choice').onchange = choose
showConnection(stream)
choose()
