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

/** Whether the page can be seen: only then is a message read by being shown. */
export const pageVisible = readonly(visible);
/** False only where the device itself knows of no network. */
export const deviceOnline = readonly(online);
/** The time, to the second. */
export const wallClock = readonly(now);
