import { computed, shallowReactive, shallowRef, watch, watchEffect } from 'vue';
import { pageVisible } from './attention';
import { unreadTotal } from './conversations';
import { t } from './i18n';
import { go, route } from './route';
import { session } from './session';

export interface Toast {
  readonly key: number;
  /** Null for a notice. */
  readonly peer: string | null;
  readonly text: string;
}

const shownAtOnce = 3;
let nextKey = 1;

const shownNotifications = new Set<Notification>();

export const toasts = shallowReactive<Toast[]>([]);

export function addToast(peer: string | null, text: string): void {
  // One a person is enough: the newest.
  const older = toasts.findIndex((toast) => toast.peer === peer);
  if (older >= 0) toasts.splice(older, 1);
  toasts.push({ key: nextKey++, peer, text });
  if (toasts.length > shownAtOnce) toasts.shift();
}

export function dropToast(key: number): void {
  const index = toasts.findIndex((toast) => toast.key === key);
  if (index >= 0) toasts.splice(index, 1);
}

export function dropToastsOf(peer: string | null): void {
  for (const toast of toasts.filter((one) => one.peer === peer)) dropToast(toast.key);
}

/** The user of this tab changed: what was said to the last one is nobody's business. */
export function forgetNotifications(): void {
  toasts.splice(0);
  for (const one of shownNotifications) one.close();
  shownNotifications.clear();
}

export type Permission = 'default' | 'granted' | 'denied' | 'missing';

function readPermission(): Permission {
  return 'Notification' in window ? Notification.permission : 'missing';
}

export const permission = shallowRef<Permission>(readPermission());

export async function askPermission(): Promise<void> {
  if (permission.value !== 'default') return;
  await Notification.requestPermission();
  permission.value = readPermission();
}

const lookedAt = (user: string): string => `waystation: ${user} looks`;

// Each tab that can be seen holds a lock of this name, which goes with the tab
// however it ends. Browsers have locks where they have notifications.
watch(
  [pageVisible, session.me],
  ([visible, user], _, onCleanup) => {
    if (!visible || user === null || !('locks' in navigator)) return;
    const left = new Promise<void>((resolve) => onCleanup(resolve));
    navigator.locks.request(lookedAt(user), { mode: 'shared' }, () => left).catch(() => {
      // Where a site may not store anything; then each tab is for itself.
    });
  },
  { immediate: true, flush: 'sync' },
);

async function isLookedAt(user: string): Promise<boolean> {
  try {
    const { held = [] } = await navigator.locks.query();
    return held.some(({ name }) => name === lookedAt(user));
  } catch {
    return false;
  }
}

/** Only where no tab of this user can be seen: otherwise a toast says it there. */
export async function notifyDesktop(peer: string | null, text: string, id: string | null): Promise<void> {
  const user = session.me.value;
  if (permission.value !== 'granted' || pageVisible.value || user === null || (await isLookedAt(user))) return;
  if (user === session.me.value) showNotification(user, peer, text, id);
}

/**
 * The same in every tab of a user, so that the browser shows one. A sender chooses the id: only messages of the same
 * sender to the same user can share a tag. Notices have no sender, and a namespace of their own.
 */
export function notificationTag(user: string, peer: string | null, id: string | null): string {
  return JSON.stringify(['waystation', user, peer, id]);
}

function showNotification(user: string, peer: string | null, text: string, id: string | null): void {
  try {
    const title = peer === null ? t('toast.notice') : t('toast.from', { user: peer });
    const shown = new Notification(title, { body: text.slice(0, 200), tag: notificationTag(user, peer, id), icon: './icon.svg' });
    shownNotifications.add(shown);
    shown.onclose = () => shownNotifications.delete(shown);
    shown.onclick = () => {
      window.focus();
      go(peer === null ? { page: 'notices' } : { page: 'chat', peer });
      shown.close();
    };
  } catch {
    // Some phones have the permission and not the constructor; the badge has to do.
  }
}

/** What is open, in the title. */
const place = computed(() => {
  const { value } = route;
  switch (value.page) {
    case 'chat':
      return value.peer;
    case 'notices':
      return t('notices.title');
    case 'operator':
      return t('op.title');
    case 'home':
      return null;
  }
});

/** Where one is and how much is unread, in the title and on the installed page's icon. */
export function startBadge(): void {
  watchEffect(() => {
    const unread = unreadTotal.value;
    document.title = `${unread > 0 ? `(${unread}) ` : ''}${place.value === null || session.me.value === null ? '' : `${place.value} · `}${t('app.name')}`;
    if ('setAppBadge' in navigator) {
      navigator.setAppBadge(unread).catch(() => {
        // Only an installed page has an icon to put it on.
      });
    }
  });
}
