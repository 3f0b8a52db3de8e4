// Stocks that don't exist. Each price is a random walk, pulled back a little to where it began, so that it stays
// in sight of it over the years.

import { type Feed, jsonEvent } from './feed.ts'

/** Symbols, and the prices at which they begin. */
export const START_PRICES: Readonly<Record<string, number>> = {
  BRAN: 48.2,
  CHAFF: 12.75,
  FLOUR: 131.4,
  GRAIN: 86.05,
  GRIST: 254.6,
  OATS: 33.9,
  SLUICE: 418.15,
  WHEEL: 172.3,
}

/** Standard deviation of a step, relative to the price. */
const VOLATILITY = 0.0008
/** How much of the way back to the start a step goes. The walk then strays from it by some 18 % (one deviation). */
const PULL = 0.00001

export const stocks: readonly Feed[] = Object.entries(START_PRICES).map(([symbol, start]) => ({
  channel: `demo:stock:${symbol}`,
  next: last => (last === null ? start : step(last, start)),
  events: (price, time) => {
    const change = round(price - start)
    return [
      jsonEvent('price', time, { symbol, price, change, changePercent: round((change / start) * 100), time }),
    ]
  },
}))

function step(price: number, start: number): number {
  // Of three uniform numbers the sum has the variance 1/4, and is near enough to the normal distribution.
  const noise = 2 * (Math.random() + Math.random() + Math.random() - 1.5)
  const next = price * Math.exp(VOLATILITY * noise - PULL * Math.log(price / start))
  return Math.max(round(next), 0.01)
}

/** To hundredths. */
function round(value: number): number {
  return Math.round(value * 100) / 100
}
