import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { effectScope, shallowRef, type EffectScope } from 'vue';
import { usePush, type UsePushOptions, type UsePushReturn } from '.';
import { FakeBrowser, type FakeTab } from '../../waystation/testing/fake_browser';

let browser: FakeBrowser;
let tab: FakeTab;
let scope: EffectScope;

beforeEach(() => {
  vi.useFakeTimers({ now: 1_700_000_000_000 });
  browser = new FakeBrowser();
  tab = browser.tab();
  scope = effectScope();
});

afterEach(() => {
  scope.stop();
  vi.useRealTimers();
});

const flushPromises = (): Promise<unknown> => vi.advanceTimersByTimeAsync(0);

async function use(user: Parameters<typeof usePush>[0] = 'alice', options: UsePushOptions = {}): Promise<UsePushReturn> {
  const made = scope.run(() => usePush(user, { environment: tab.environment, ...options }));
  if (made === undefined) throw new Error('the scope has ended');
  await flushPromises();
  return made;
}

const event = (message: unknown): unknown => ({ event: { message, group: 'alice_bob', from: 'bob', id: 'm1', at: 7 } });

describe('usePush', () => {
  it('follows the state of the link', async () => {
    const { state, isOpen } = await use();
    expect(state.value?.name).toBe('connecting');
    browser.socket.accept();
    expect(isOpen.value).toBe(true);
  });

  it('reports each event, and keeps the newest', async () => {
    const heard: unknown[] = [];
    const { event: newest } = await use('alice', { onEvent: (one, user) => heard.push([one.message, user]) });
    browser.socket.accept();
    browser.socket.sendFrame(event('one'));
    browser.socket.sendFrame(event('two'));
    expect(heard).toEqual([['one', 'alice'], ['two', 'alice']]);
    expect(newest.value?.message).toBe('two');
  });

  it('asks who tried to reach the user', async () => {
    const { missed } = await use();
    browser.socket.accept();
    const asked = missed({ since: 0 });
    browser.socket.sendFrame({ missed: { from: [{ user: 'bob', count: 3, first: 5, last: 7 }], notifications: 0, complete: true, next: 'x' } });
    await expect(asked).resolves.toMatchObject({ from: [{ user: 'bob', count: 3 }], next: 'x' });
  });

  it('closes with the scope', async () => {
    const { state } = await use();
    browser.socket.accept();
    scope.stop();
    expect(browser.socket.clientClosed).toBe(1000);
    expect(state.value).toBe(null);
  });

  it('reconnects when the user changes, and ignores late events of the previous one', async () => {
    const user = shallowRef<string | null>('alice');
    const heard: unknown[] = [];
    await use(user, { shared: false, onEvent: (one) => heard.push(one.message) });
    browser.socket.accept();
    const before = browser.socket;
    user.value = 'carol';
    await flushPromises();
    browser.socket.accept();
    expect(before.clientClosed).toBe(1000);
    expect(browser.socket.url).toContain('/push/carol/');
    before.late.message(event('late'));
    expect(heard).toEqual([]);
  });

  it('is idle without a user', async () => {
    const { state, missed } = await use(null);
    expect(browser.sockets).toHaveLength(0);
    expect(state.value).toBe(null);
    await expect(missed({ since: 0 })).rejects.toMatchObject({ code: 'not_open' });
  });

  it('connects on retry', async () => {
    const { retry } = await use();
    browser.socket.accept();
    browser.socket.drop(1006);
    retry();
    expect(browser.sockets).toHaveLength(2);
  });
});
