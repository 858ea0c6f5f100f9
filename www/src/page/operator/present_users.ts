import { computed, shallowRef, watch, type Ref } from 'vue';
import { count, isObject, isPartial, requestJson } from './api';
import { errorText } from './errors';
import { usePolling } from './polling';

export interface PresentUser {
  readonly user: string;
  readonly pushSockets: number;
  readonly groups: number;
}

export interface UserPage {
  readonly users: readonly PresentUser[];
  /** Where the next page begins; null: this is the last one. */
  readonly next: string | null;
  /** A node did not answer. */
  readonly partial: boolean;
}

const pageSize = 20;
/** The server reads all its users for each page: where that takes time, it is asked less often. */
const intervalMs = (tookMs: number): number => Math.min(Math.max(2_000, 5 * tookMs), 8_000);

/** Reads GET /api/v1/presence. `after`: '' for the first page. */
export async function readUsers(after: string, token: string): Promise<UserPage> {
  const query = new URLSearchParams({ limit: String(pageSize), ...(after === '' ? {} : { after }) });
  const page = await requestJson(`api/v1/presence?${query}`, { token });
  const users = (Array.isArray(page.users) ? page.users : [])
    .filter(isObject)
    .map((one) => ({ user: String(one.user), pushSockets: count(one.push_sockets), groups: count(one.groups) }));
  return { users, next: typeof page.next === 'string' ? page.next : null, partial: isPartial(page) };
}

export interface PresentUsers {
  /** Null before the first answer. */
  readonly page: Readonly<Ref<UserPage | null>>;
  /** From 1. */
  readonly number: Readonly<Ref<number>>;
  readonly error: Readonly<Ref<string | null>>;
  readonly forward: () => void;
  readonly back: () => void;
  readonly refresh: () => Promise<void>;
}

/** Reads the page that is shown again and again while the browser shows it, until the scope ends. */
export function usePresentUsers(token: () => string): PresentUsers {
  const page = shallowRef<UserPage | null>(null);
  /** Where the pages begin, up to the one that is shown. */
  const starts = shallowRef<readonly string[]>(['']);
  const error = shallowRef<string | null>(null);
  const refresh = usePolling(
    () => readUsers(starts.value.at(-1) ?? '', token()),
    (answer) => {
      const isRead = answer.status === 'fulfilled';
      error.value = isRead ? null : errorText(answer.reason, token(), 'admin');
      page.value = isRead ? answer.value : null;
      // The users of the last page may all have left.
      if (isRead && answer.value.users.length === 0) back();
    },
    intervalMs,
  );
  watch(token, () => void refresh());

  function show(next: readonly string[]): void {
    starts.value = next;
    void refresh();
  }
  const forward = (): void => {
    const next = page.value?.next ?? null;
    if (next !== null) show([...starts.value, next]);
  };
  const back = (): void => {
    if (starts.value.length > 1) show(starts.value.slice(0, -1));
  };

  return { page, number: computed(() => starts.value.length), error, forward, back, refresh };
}
