import { shallowRef, watch } from 'vue';
import { browserEnvironment } from '../waystation';
import { listenToPage } from '../waystation/page_events';

// False while the page is in the browser's cache, which takes no page that holds a lock.
const pageShown = shallowRef(true);
listenToPage(browserEnvironment(), {
  pagehide: () => (pageShown.value = false),
  pageshow: () => (pageShown.value = true),
});

/**
 * Holds the Web Lock of this name while there is one, together with other tabs. The browser releases it with the tab. No
 * effect without Web Locks, which exist only on https and loopback addresses.
 */
export function holdTabLock(name: () => string | null): void {
  watch(
    () => (pageShown.value ? name() : null),
    (held, _, onCleanup) => {
      const { locks } = browserEnvironment();
      if (held === null || locks === null) return;
      const released = new Promise<void>((resolve) => onCleanup(resolve));
      locks.request(held, { mode: 'shared' }, () => released).catch(() => {
        // The site may not store anything: each tab decides alone.
      });
    },
    { immediate: true, flush: 'sync' },
  );
}

/** The names of the locks that the tabs of this browser hold. Empty without Web Locks. */
export async function heldTabLocks(): Promise<readonly string[]> {
  try {
    const { held = [] } = (await browserEnvironment().locks?.query()) ?? {};
    return held.map(({ name }) => name ?? '');
  } catch {
    return [];
  }
}
