import { computed, onScopeDispose, shallowRef, watch, type Ref } from 'vue';
import { pageVisible } from '../browser_state';
import { count, isObject, requestJson } from './api';
import { errorText } from './errors';

export interface PresentUser {
  readonly user: string;
  readonly pushSockets: number;
  readonly groups: number;
}

export interface UserPage {
  readonly users: readonly PresentUser[];
  /** Where the next page begins; null: this is the last one. */
  readonly next: string | null;
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
  return { users, next: typeof page.next === 'string' ? page.next : null };
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
  let timer: ReturnType<typeof setTimeout> | undefined;
  /** Changes with each reading, so that a late answer has no effect. */
  let round = 0;

  async function refresh(): Promise<void> {
    clearTimeout(timer);
    const mine = ++round;
    const begun = Date.now();
    try {
      const read = await readUsers(starts.value.at(-1) ?? '', token());
      if (mine !== round) return;
      error.value = null;
      page.value = read;
      // The users of the last page may all have left.
      if (read.users.length === 0 && starts.value.length > 1) return back();
    } catch (reason) {
      if (mine !== round) return;
      error.value = errorText(reason, token(), 'admin');
      page.value = null;
    }
    timer = setTimeout(() => void refresh(), intervalMs(Date.now() - begun));
  }

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
  function stop(): void {
    round += 1;
    clearTimeout(timer);
  }

  watch(pageVisible, (visible) => (visible ? void refresh() : stop()), { immediate: true });
  watch(token, () => void refresh());
  onScopeDispose(stop);

  return { page, number: computed(() => starts.value.length), error, forward, back, refresh };
}
