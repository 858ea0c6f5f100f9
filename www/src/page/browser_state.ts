import { readonly, shallowRef } from 'vue';

const visible = shallowRef(document.visibilityState === 'visible');
const online = shallowRef(navigator.onLine);
const now = shallowRef(Date.now());

document.addEventListener('visibilitychange', () => {
  visible.value = document.visibilityState === 'visible';
});
window.addEventListener('online', () => {
  online.value = true;
});
window.addEventListener('offline', () => {
  online.value = false;
});
setInterval(() => {
  now.value = Date.now();
}, 1_000);

/** Whether the page is visible. A message counts as read only if it is shown on a visible page. */
export const pageVisible = readonly(visible);
/** False if the device reports that it has no network. */
export const deviceOnline = readonly(online);
/** The time in milliseconds, updated each second. */
export const wallClock = readonly(now);
/** Whether the page shows the list next to the conversation. The styles have the same limit. */
export const isWide = (): boolean => matchMedia('(min-width: 721px)').matches;
