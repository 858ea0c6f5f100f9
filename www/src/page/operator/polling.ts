import { onScopeDispose, watch } from 'vue';
import { pageVisible } from '../browser_state';

/**
 * Reads again and again while the browser shows the page, until the scope ends. A late answer has no effect: after a newer
 * reading, or when the page is hidden.
 *
 * @param read Asks the server.
 * @param use Gets the answer, or the error.
 * @param intervalMs The pause after an answer that took this time.
 * @returns Reads at once, and resolves when the answer was used.
 */
export function usePolling<T>(
  read: () => Promise<T>,
  use: (answer: PromiseSettledResult<T>) => void,
  intervalMs: (tookMs: number) => number,
): () => Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  /** Changes with each reading. */
  let round = 0;
  let ended = false;

  async function refresh(): Promise<void> {
    stop();
    // An action of the user may end after the scope.
    if (ended || !pageVisible.value) return;
    const mine = round;
    const begun = Date.now();
    const [answer] = await Promise.allSettled([read()]);
    if (mine !== round) return;
    use(answer);
    // `use` may have begun another reading.
    if (mine === round) timer = setTimeout(() => void refresh(), intervalMs(Date.now() - begun));
  }
  function stop(): void {
    round += 1;
    clearTimeout(timer);
  }

  watch(pageVisible, () => void refresh(), { immediate: true });
  onScopeDispose(() => {
    ended = true;
    stop();
  });
  return refresh;
}
