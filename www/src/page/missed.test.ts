import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { effectScope, nextTick, shallowRef, type EffectScope } from 'vue';
import { missedKey, useMissed, type UseMissedReturn } from './missed';
import { SendError, type Missed, type MissedQuestion } from '../waystation';

const from = (...users: string[]): Missed['from'] => users.map((user) => ({ user, count: 1, first: 1, last: 2 }));
const answer = (next: string, ...users: string[]): Missed => ({ from: from(...users), notifications: 0, complete: true, next });

const key = missedKey('alice');
let stored: Map<string, string>;
let page: EventTarget;
let scope: EffectScope;
let questions: MissedQuestion[];
/** The answers of the server, in order. */
let answers: (Missed | string)[];
let isOpen: ReturnType<typeof shallowRef<boolean>>;

beforeEach(() => {
  vi.useFakeTimers();
  stored = new Map();
  page = new EventTarget();
  scope = effectScope();
  questions = [];
  answers = [];
  isOpen = shallowRef(false);
  vi.stubGlobal('window', page);
  vi.stubGlobal('localStorage', {
    getItem: (name: string) => stored.get(name) ?? null,
    setItem: (name: string, value: string) => stored.set(name, value),
    removeItem: (name: string) => stored.delete(name),
  });
});

afterEach(() => {
  scope.stop();
  vi.unstubAllGlobals();
  vi.useRealTimers();
});

function use(): UseMissedReturn {
  const ask = (question: MissedQuestion): Promise<Missed> => {
    questions.push(question);
    const next = answers.shift();
    if (next === undefined) return new Promise(() => {});
    return typeof next === 'string' ? Promise.reject(new SendError(next, 'refused', '')) : Promise.resolve(next);
  };
  const made = scope.run(() => useMissed('alice', isOpen as never, ask));
  if (made === undefined) throw new Error('the scope has ended');
  return made;
}

async function connect(): Promise<void> {
  isOpen.value = false;
  await nextTick();
  isOpen.value = true;
  await nextTick();
  await vi.advanceTimersByTimeAsync(0);
}

describe('missed messages', () => {
  it('are asked for from the beginning, then after the last list that was read', async () => {
    answers = [answer('c1', 'bob', 'carol'), answer('c2', 'dora')];
    const { missed, dismiss } = use();
    expect(questions).toEqual([]);
    await connect();
    expect(missed.value?.from.map(({ user }) => user)).toEqual(['bob', 'carol']);
    // Not read yet: a reload shows it again.
    expect(stored.size).toBe(0);
    dismiss();
    expect([missed.value, stored.get(key)]).toEqual([null, 'c1']);
    await connect();
    expect(questions).toEqual([{ since: 0 }, { after: 'c1' }]);
    expect(missed.value?.from.map(({ user }) => user)).toEqual(['dora']);
  });

  it('come with a warning only if senders were left out, or since a list that was read', async () => {
    const partial = (...users: string[]): Missed => ({ ...answer('c1', ...users), complete: false });
    answers = [partial('bob'), partial(...Array.from({ length: 100 }, (_, n) => `u${n}`)), partial('bob')];
    const { missed, dismiss } = use();
    await connect();
    expect(missed.value?.complete).toBe(true);
    await connect();
    expect(missed.value?.complete).toBe(false);
    dismiss();
    await connect();
    expect([questions[2], missed.value?.complete]).toEqual([{ after: 'c1' }, false]);
  });

  it('are not shown if there are none', async () => {
    answers = [answer('c1')];
    const { missed } = use();
    await connect();
    expect([missed.value, stored.get(key)]).toEqual([null, 'c1']);
  });

  it('are shown for notices alone', async () => {
    answers = [{ ...answer('c1'), notifications: 2 }];
    const { missed } = use();
    await connect();
    expect([missed.value?.notifications, stored.size]).toEqual([2, 0]);
  });

  it('are read when the last user is removed', async () => {
    answers = [answer('c1', 'bob', 'carol')];
    const { missed, remove } = use();
    await connect();
    remove('bob');
    expect([missed.value?.from.length, stored.size]).toEqual([1, 0]);
    remove('carol');
    expect([missed.value, stored.get(key)]).toEqual([null, 'c1']);
  });

  it('disappear when another tab has shown them', async () => {
    answers = [answer('c1', 'bob')];
    const { missed } = use();
    await connect();
    const other = (name: string): void => void page.dispatchEvent(Object.assign(new Event('storage'), { key: name, newValue: 'c1' }));
    other(missedKey('bob'));
    expect(missed.value).not.toBe(null);
    other(key);
    expect(missed.value).toBe(null);
  });

  it('are shown without storage', async () => {
    vi.stubGlobal('localStorage', undefined);
    answers = [answer('c1', 'bob')];
    const { missed, dismiss } = use();
    await connect();
    expect(missed.value?.from.length).toBe(1);
    dismiss();
    expect(missed.value).toBe(null);
  });

  it('are asked for again after an error that passes, a few times', async () => {
    answers = ['audit_busy', 'timeout', 'audit_busy', 'audit_busy', answer('c1', 'bob')];
    use();
    await connect();
    await vi.advanceTimersByTimeAsync(1_999);
    expect(questions).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(600_000);
    expect(questions).toHaveLength(4);
  });

  it('are never asked for again of a server without an audit', async () => {
    answers = ['audit_off', answer('c1', 'bob')];
    const { missed } = use();
    await connect();
    await connect();
    expect([questions.length, missed.value]).toEqual([1, null]);
  });

  it.each(['bad_envelope', 'link_lost'])('are not asked for again after %s, until the next connection', async (code) => {
    answers = [code, answer('c1', 'bob')];
    const { missed } = use();
    await connect();
    await vi.advanceTimersByTimeAsync(600_000);
    expect([questions.length, missed.value]).toEqual([1, null]);
    await connect();
    expect(missed.value?.from.length).toBe(1);
  });

  it('are asked for from the beginning if the server cannot read the cursor', async () => {
    stored.set(key, 'old');
    answers = ['bad_envelope', answer('c1', 'bob')];
    const { missed } = use();
    await connect();
    expect(questions).toEqual([{ after: 'old' }, { since: 0 }]);
    expect(missed.value?.from.length).toBe(1);
  });

  it.each([['answer', answer('c1')], ['error', new SendError('audit_busy', 'refused', '')]])('of a user who has left have no effect: late %s', async (_, late) => {
    let settle: (answered: Missed | Promise<never>) => void = () => {};
    const pending = new Promise<Missed>((resolve) => (settle = resolve));
    const made = scope.run(() => useMissed('alice', isOpen as never, () => pending));
    await connect();
    scope.stop();
    settle(late instanceof SendError ? Promise.reject(late) : late);
    await vi.advanceTimersByTimeAsync(0);
    expect([made?.missed.value, stored.size, vi.getTimerCount()]).toEqual([null, 0, 0]);
  });
});
