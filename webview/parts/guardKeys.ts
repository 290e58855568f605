/**
 * A key that is held down, or Space, must not do more than the person meant: a button answers to a fresh press alone,
 * and Space on a button does not scroll the page.
 */
export function guardKeys(root: EventTarget): void {
  root.addEventListener(
    'keydown',
    (event) => {
      if (!(event instanceof KeyboardEvent) || (event.key !== 'Enter' && event.key !== ' ')) return;
      const onButton = event.composedPath().some((t) => t instanceof HTMLElement && (t.localName === 'vscode-button' || t.localName === 'button'));
      if (!onButton) return;
      if (event.repeat) {
        event.preventDefault();
        event.stopImmediatePropagation();
      }
    },
    { capture: true },
  );
  root.addEventListener('keydown', (event) => {
    if (event instanceof KeyboardEvent && event.key === ' ' && event.composedPath().some((t) => t instanceof HTMLElement && t.localName === 'vscode-button'))
      event.preventDefault();
  });
}
