// Preloaded into a gateway or worker: on SIGUSR2 it says which of the language's own prototypes are no longer as they
// were at the start.

const PROTOTYPES = { Object, Array, String, Number, Function, Map, Promise, Error }

const shapeOf = ({ prototype }) =>
  new Map(Reflect.ownKeys(prototype).map(key => [key, describe(prototype, key)]))
const describe = (prototype, key) => {
  const { value, get, set } = Object.getOwnPropertyDescriptor(prototype, key)
  return [value, get, set]
}
const shapes = new Map(Object.entries(PROTOTYPES).map(([name, type]) => [name, shapeOf(type)]))

process.on('SIGUSR2', () => {
  const changed = []
  for (const [name, before] of shapes) {
    const now = shapeOf(PROTOTYPES[name])
    for (const key of new Set([...before.keys(), ...now.keys()])) {
      const same = before.get(key)?.every((part, i) => Object.is(part, now.get(key)?.[i]))
      if (!same) changed.push(`${name}.prototype.${String(key)}`)
    }
  }
  process.stdout.write(`${JSON.stringify({ changedPrototypes: changed })}\n`)
})
