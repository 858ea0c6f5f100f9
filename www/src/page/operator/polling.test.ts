import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { effectScope, nextTick, shallowRef, type EffectScope, type ShallowRef } from 'vue';
import { pageVisible } from '../browser_state';
import { usePolling } from './polling';

// Visibility needs a browser.
vi.mock('../browser_state', () => ({ pageVisible: shallowRef(true) }));

const visible = pageVisible as ShallowRef<boolean>;
let scope: EffectScope;
/** Ends the readings, in order. */
let answers: ((answer: string | Error) => void)[];
let used: string[];

function poll(use: (answer: string) => void = () => {}): () => Promise<void> {
  const read = (): Promise<string> =>
    new Promise((resolve, reject) => answers.push((answer) => (answer instanceof Error ? reject(answer) : resolve(answer))));
  const refresh = scope.run(() =>
    usePolling(
      read,
      (answer) => {
        const text = answer.status === 'fulfilled' ? answer.value : String(answer.reason);
        used.push(text);
        use(text);
      },
      (tookMs) => 1_000 + tookMs,
    ),
  );
  if (refresh === undefined) throw new Error('the scope has ended');
  return refresh;
}

/** Answers the reading of this number. */
async function answer(number: number, with_: string | Error): Promise<void> {
  answers[number]?.(with_);
  await vi.advanceTimersByTimeAsync(0);
}

beforeEach(() => {
  vi.useFakeTimers();
  visible.value = true;
  scope = effectScope();
  answers = [];
  used = [];
});

afterEach(() => {
  scope.stop();
  vi.useRealTimers();
});

describe('usePolling', () => {
  it('reads at once, and again a while after each answer or error', async () => {
    poll();
    await vi.advanceTimersByTimeAsync(300);
    await answer(0, 'one');
    await vi.advanceTimersByTimeAsync(1_299);
    expect(answers.length).toBe(1);
    await vi.advanceTimersByTimeAsync(1);
    await answer(1, new Error('refused'));
    await vi.advanceTimersByTimeAsync(1_000);
    expect(answers.length).toBe(3);
    expect(used).toEqual(['one', 'Error: refused']);
  });

  it('does not read, or use an answer, while the page is hidden', async () => {
    const refresh = poll();
    visible.value = false;
    await nextTick();
    await answer(0, 'late');
    await refresh();
    await vi.advanceTimersByTimeAsync(5_000);
    expect([answers.length, used]).toEqual([1, []]);
    visible.value = true;
    await nextTick();
    await answer(1, 'shown');
    expect(used).toEqual(['shown']);
  });

  it('uses the answer of the newest reading only', async () => {
    const refresh = poll();
    void refresh();
    await answer(1, 'new');
    await answer(0, 'old');
    expect(used).toEqual(['new']);
    await vi.advanceTimersByTimeAsync(1_000);
    expect(answers.length).toBe(3);
  });

  it('reads once at a time when an answer begins another reading', async () => {
    const refresh = poll((text) => void (text === 'empty' && refresh()));
    await answer(0, 'empty');
    expect(answers.length).toBe(2);
    await vi.advanceTimersByTimeAsync(5_000);
    expect(answers.length).toBe(2);
  });

  it('ends with its scope, also for an action that ends later', async () => {
    const refresh = poll();
    scope.stop();
    await answer(0, 'late');
    await refresh();
    await vi.advanceTimersByTimeAsync(5_000);
    expect([answers.length, used]).toEqual([1, []]);
  });
});
