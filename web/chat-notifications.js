// Notifications of the system, for who asks for them by a click.

/** Shows `button` where there can be notifications; returns what sends one. */
export function notifier(button) {
  button.hidden = !globalThis.Notification
  button.onclick = async () => {
    const wants = button.ariaPressed !== 'true'
    const granted = wants && (await Notification.requestPermission()) === 'granted'
    button.ariaPressed = String(granted)
    button.textContent = wants && !granted ? 'The browser refuses notifications' : 'Notify me of messages'
  }
  return (title, body, tag) => {
    if (button.ariaPressed !== 'true') return
    try {
      new Notification(title, { body, tag }).onclick = () => window.focus()
    } catch {
      button.hidden = true // some browsers have the class, and refuse it to pages
    }
  }
}
