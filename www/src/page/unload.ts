import { unsentCount } from './conversation_store';

/** The browser asks before it closes or reloads a page with something unsent. */
export function warnBeforeUnload(): void {
  window.addEventListener('beforeunload', (event) => {
    if (unsentCount() > 0) event.preventDefault();
  });
}
