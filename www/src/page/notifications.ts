import { computed, shallowReactive, shallowRef, watchEffect } from 'vue';
import { pageVisible } from './browser_state';
import { unreadTotal } from './conversation_store';
import { t } from './i18n';
import { notify } from './preferences';
import { go, linkTo, route, type Route } from './route';
import { session } from './session';
import { heldTabLocks, holdTabLock } from './tab_locks';

export interface Toast {
  readonly key: number;
  /** Null for a notice. */
  readonly peer: string | null;
  readonly text: string;
}

const maxToasts = 3;
let nextKey = 1;

const shownNotifications = new Set<Notification>();

export const toasts = shallowReactive<Toast[]>([]);

export function addToast(peer: string | null, text: string): void {
  // One toast per peer: the newest.
  const older = toasts.findIndex((toast) => toast.peer === peer);
  if (older >= 0) toasts.splice(older, 1);
  toasts.push({ key: nextKey++, peer, text });
  if (toasts.length > maxToasts) toasts.shift();
}

export function dismissToast(key: number): void {
  const index = toasts.findIndex((toast) => toast.key === key);
  if (index >= 0) toasts.splice(index, 1);
}

export function dismissToastsOf(peer: string | null): void {
  for (const toast of toasts.filter((one) => one.peer === peer)) dismissToast(toast.key);
}

/** The user of this tab changed, and must not see the messages of the previous one. */
export function clearNotifications(): void {
  toasts.splice(0);
  for (const one of shownNotifications) one.close();
  shownNotifications.clear();
}

export type Permission = 'default' | 'granted' | 'denied' | 'missing';

function readPermission(): Permission {
  return 'Notification' in window ? Notification.permission : 'missing';
}

export const permission = shallowRef<Permission>(readPermission());

/** Whether a hidden page shows messages on the desktop. */
export const notifies = computed(() => permission.value === 'granted' && notify.value === 'on');

/** Switches desktop notifications. Asks the browser's permission first, if it is not decided. */
export async function switchNotifications(): Promise<void> {
  if (permission.value === 'granted') {
    notify.value = notifies.value ? 'off' : 'on';
  } else if (permission.value === 'default') {
    await Notification.requestPermission();
    permission.value = readPermission();
    notify.value = 'on';
  }
}

const visibleTabLock = (user: string): string => `waystation: ${user} visible`;

// Browsers have locks wherever they have notifications.
holdTabLock(() => (pageVisible.value && session.me.value !== null ? visibleTabLock(session.me.value) : null));

const hasVisibleTab = async (user: string): Promise<boolean> => (await heldTabLocks()).includes(visibleTabLock(user));

/** Shows a desktop notification if no tab of this user is visible. A visible tab shows a toast. */
export async function notifyDesktop(peer: string | null, text: string, id: string | null): Promise<void> {
  const user = session.me.value;
  if (!notifies.value || pageVisible.value || user === null || (await hasVisibleTab(user))) return;
  if (user === session.me.value) showNotification(user, peer, text, id);
}

/**
 * The tag of a notification: the browser replaces a notification by a later one with the same tag. It is equal in all
 * tabs of a user, so that they show one. The sender chooses the id, so that the tag contains sender and receiver.
 * Notices have the sender null.
 */
export function notificationTag(user: string, peer: string | null, id: string | null): string {
  return JSON.stringify(['waystation', user, peer, id]);
}

function showNotification(user: string, peer: string | null, text: string, id: string | null): void {
  const title = peer === null ? t('toast.notice') : t('toast.from', { user: peer });
  const to: Route = peer === null ? { page: 'notices' } : { page: 'chat', peer };
  const options = { body: text.slice(0, 200), tag: notificationTag(user, peer, id), icon: './icon-192.png' };
  try {
    const shown = new Notification(title, options);
    shownNotifications.add(shown);
    shown.onclose = () => shownNotifications.delete(shown);
    shown.onclick = () => {
      window.focus();
      go(to);
      shown.close();
    };
  } catch {
    // Phones have the permission without the constructor.
    void import('../soon').then((soon) => soon.showByWorker(title, options, linkTo(to, user)), () => {});
  }
}

/** The name of the open page, for the title. */
const pageName = computed(() => {
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

/** Shows page and unread messages in the title, and the number on the icon of an installed page. */
export function startBadge(): void {
  watchEffect(() => {
    const unread = unreadTotal.value;
    document.title = `${unread > 0 ? `(${unread}) ` : ''}${pageName.value === null || session.me.value === null ? '' : `${pageName.value} · `}${t('app.name')}`;
    if ('setAppBadge' in navigator) {
      navigator.setAppBadge(unread).catch(() => {
        // Only an installed page has an icon.
      });
    }
  });
}
