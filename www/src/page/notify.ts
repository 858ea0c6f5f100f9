import { computed, shallowReactive, shallowRef, watchEffect } from 'vue';
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
  for (const timer of unanswered) clearTimeout(timer);
  unanswered.clear();
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

/** What the tabs of this browser ask each other before one of them shows a notification. */
interface Note {
  readonly user: string | null;
  readonly kind: 'is anyone looking?' | 'I am';
}

const tabs = 'BroadcastChannel' in window ? new BroadcastChannel('waystation.tabs') : null;
const askingMs = 150;
const unanswered = new Set<ReturnType<typeof setTimeout>>();

tabs?.addEventListener('message', ({ data }: MessageEvent<Note>) => {
  const user = session.me.value;
  if (data.user !== user) return;
  if (data.kind === 'I am') {
    for (const timer of unanswered) clearTimeout(timer);
    unanswered.clear();
  } else if (document.visibilityState === 'visible') {
    tabs.postMessage({ user, kind: 'I am' } satisfies Note);
  }
});

/** Only where no tab of this user can be seen: otherwise a toast says it there. */
export function notifyDesktop(peer: string | null, text: string, id: string | null): void {
  if (permission.value !== 'granted' || document.visibilityState === 'visible') return;
  const timer = setTimeout(() => {
    unanswered.delete(timer);
    showNotification(peer, text, id);
  }, askingMs);
  unanswered.add(timer);
  tabs?.postMessage({ user: session.me.value, kind: 'is anyone looking?' } satisfies Note);
}

function showNotification(peer: string | null, text: string, id: string | null): void {
  try {
    const title = peer === null ? t('toast.notice') : t('toast.from', { user: peer });
    // The same tag in every tab of a user: the browser shows one.
    const shown = new Notification(title, { body: text.slice(0, 200), tag: id ?? `waystation-${peer ?? 'notice'}`, icon: './icon.svg' });
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
