import { onScopeDispose, shallowRef, watch, type Ref } from 'vue';
import { SendError, type Missed, type MissedQuestion } from '../waystation';

/** The cursor of a user's last answer that was read, in localStorage. */
export const missedKey = (me: string): string => `waystation.missed.${me}`;

function readCursor(me: string): string | null {
  try {
    return localStorage.getItem(missedKey(me));
  } catch {
    return null;
  }
}

function storeCursor(me: string, cursor: string | null): void {
  try {
    if (cursor === null) localStorage.removeItem(missedKey(me));
    else localStorage.setItem(missedKey(me), cursor);
  } catch {
    // Without storage, the list is shown again after the next sign-in.
  }
}

/** Errors that pass. The delays grow and are spread, since all pages of a restarted server ask at once. */
const passingErrors: readonly string[] = ['audit_busy', 'audit_unavailable', 'timeout', 'no_answer', 'rate_limited'];
const retryMs = 2_000;
const maxRetries = 3;
/** An answer names no more. */
const maxSenders = 100;

export interface UseMissedReturn {
  /**
   * Who tried to reach this user since the last list that was read; null if nobody did, or it is unknown. `complete` is
   * true for a user who has read no list before, unless senders were left out.
   */
  readonly missed: Readonly<Ref<Missed | null>>;
  /** Hides the list for good: this browser keeps the cursor. */
  readonly dismiss: () => void;
  /** Removes a user from the list. */
  readonly remove: (user: string) => void;
}

/**
 * Asks who tried to reach a user, each time the push socket opens.
 *
 * `isOpen`: of the push socket. `ask`: its `missed`.
 */
export function useMissed(me: string, isOpen: Readonly<Ref<boolean>>, ask: (question: MissedQuestion) => Promise<Missed>): UseMissedReturn {
  const missed = shallowRef<Missed | null>(null);
  let timer: ReturnType<typeof setTimeout> | undefined;
  /** Changes when an answer that is on its way becomes obsolete. */
  let epoch = 0;
  /** The server keeps no audit, and counts each question as an error. */
  let off = false;

  function dismiss(): void {
    const next = missed.value?.next ?? null;
    missed.value = null;
    if (next !== null) storeCursor(me, next);
  }

  function show(answer: Missed): void {
    missed.value = answer;
    if (answer.from.length === 0 && answer.notifications === 0) dismiss();
  }

  async function refresh(retries: number): Promise<void> {
    const mine = ++epoch;
    const cursor = readCursor(me);
    try {
      const answer = await ask(cursor === null ? { since: 0 } : { after: cursor });
      // The first question is about all time, which no server knows. That is no reason to warn a new user.
      if (mine === epoch) show(cursor === null && answer.from.length < maxSenders ? { ...answer, complete: true } : answer);
    } catch (error) {
      if (mine !== epoch || !(error instanceof SendError)) return;
      if (passingErrors.includes(error.code) && retries > 0) {
        timer = setTimeout(() => void refresh(retries - 1), retryMs * 3 ** (maxRetries - retries) * (1 + Math.random()));
      } else if (error.code === 'audit_off') {
        off = true;
      } else if (error.code === 'bad_envelope' && cursor !== null) {
        // This server cannot read the cursor.
        storeCursor(me, null);
        void refresh(0);
      }
    }
  }

  function stop(): void {
    epoch += 1;
    clearTimeout(timer);
  }

  watch(
    isOpen,
    (open) => {
      stop();
      if (open && !off) void refresh(maxRetries);
    },
    { immediate: true },
  );

  /** Another tab of this user has shown the list. */
  function onStorage({ key, newValue }: StorageEvent): void {
    if (key !== missedKey(me) || newValue === null) return;
    stop();
    missed.value = null;
  }
  window.addEventListener('storage', onStorage);
  onScopeDispose(() => {
    stop();
    window.removeEventListener('storage', onStorage);
  });

  return {
    missed,
    dismiss,
    remove(user) {
      if (missed.value !== null) show({ ...missed.value, from: missed.value.from.filter((one) => one.user !== user) });
    },
  };
}
