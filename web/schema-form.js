// Makes form fields from a JSON Schema (2020-12): text, number, yes/no and choice; JSON for everything else.

const MAX_SHORT_TEXT = 200 // a text that may be longer gets several lines

/**
 * @param schema the JSON Schema of an object, or null
 * @returns {{ elements: HTMLElement[], read(): { input: object, errors: {path, message}[] },
 *   showErrors(errors: {path, message}[]): {path, message}[] }} `showErrors` puts each error at its field, moves to
 *   the first of them, and returns the errors that belong to no field.
 */
export function schemaForm(schema) {
  const properties = Object.entries(schema?.properties ?? {})
  if (properties.length === 0) properties.push(['', { title: 'JSON', default: {} }]) // all of the input as one field
  const required = schema?.required ?? []
  const fields = properties.map(([name, property]) => makeField(name, property, required.includes(name)))
  const fieldOf = ({ path }) => fields.find(({ name }) => name === '' || name === fieldName(path))
  return {
    elements: fields.map(field => field.element),
    read() {
      const input = {}
      const errors = []
      for (const { name, read } of fields) {
        const { value, error } = read()
        if (error) errors.push({ path: name, message: error })
        else if (name === '') return { input: value ?? {}, errors }
        else if (value !== undefined) input[name] = value
      }
      return { input, errors }
    },
    showErrors(errors) {
      for (const field of fields) field.showErrors(errors.filter(error => fieldOf(error) === field))
      fields.find(field => field.control.ariaInvalid === 'true')?.control.focus()
      return errors.filter(error => !fieldOf(error))
    },
  }
}

/** `input.steps` and `/input/steps` speak of the field `steps`. */
function fieldName(path) {
  const names = path.split(/[./]/).filter(Boolean)
  return names[0] === 'input' ? names[1] : names[0]
}

function makeField(name, property, required) {
  const { control, read } = makeControl(property, required && property.default === undefined)
  const label = make('label', {}, [property.title ?? name, control])
  const hint = make('p', { className: 'hint', textContent: hintOf(property) })
  const error = make('p', { className: 'error' })
  control.ariaDescribedByElements = [hint, error]
  return {
    name,
    control,
    element: make('div', { className: 'field' }, [label, hint, error]),
    read() {
      if (!control.checkValidity()) return { error: control.validationMessage }
      try {
        return { value: control.value === '' ? undefined : read() }
      } catch (cause) {
        return { error: `This is not JSON: ${cause.message}` }
      }
    },
    showErrors(errors) {
      error.textContent = errors.map(({ message }) => message).join(' ')
      control.ariaInvalid = errors.length > 0
    },
  }
}

function makeControl(property, required) {
  const { type, default: preset } = property
  if (property.enum) {
    const choices = property.enum.map(
      choice => new Option(choice, JSON.stringify(choice), false, choice === preset),
    )
    const control = make('select', { required }, required ? choices : [new Option('', ''), ...choices])
    return { control, read: () => JSON.parse(control.value) }
  }
  if (type === 'boolean') {
    const control = make('input', { type: 'checkbox', checked: preset === true })
    return { control, read: () => control.checked }
  }
  if (type === 'integer' || type === 'number') {
    const { min, max } = boundsOf(property)
    const step = type === 'integer' ? 1 : 'any'
    const control = make('input', { type: 'number', required, step, min, max, value: preset ?? '' })
    return { control, read: () => Number(control.value) }
  }
  if (type === 'string') {
    const short = property.format || property.pattern || property.maxLength <= MAX_SHORT_TEXT
    const control = make(short ? 'input' : 'textarea', { required, value: preset ?? '' })
    return { control, read: () => control.value }
  }
  const value = preset === undefined ? '' : JSON.stringify(preset)
  const control = make('textarea', { required, className: 'code', spellcheck: false, value })
  return { control, read: () => JSON.parse(control.value) }
}

/** The bounds worth showing: a schema's "any safe integer" is none. */
function boundsOf({ minimum, maximum }) {
  const shown = bound => (Math.abs(bound) < Number.MAX_SAFE_INTEGER ? bound : '')
  return { min: shown(minimum), max: shown(maximum) }
}

function hintOf(property) {
  const { min, max } = boundsOf(property)
  const range = [
    min !== '' && `at least ${min.toLocaleString()}`,
    max !== '' && `at most ${max.toLocaleString()}`,
  ]
  return [property.description, ...range].filter(Boolean).join(', ')
}

function make(tag, properties, children = []) {
  const element = Object.assign(document.createElement(tag), properties)
  element.append(...children)
  return element
}
