import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { effectScope, shallowRef, type EffectScope } from 'vue';
import { useChat, type UseChatOptions, type UseChatReturn } from '.';
import { SendError } from '../../waystation';
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

function use(group: Parameters<typeof useChat>[0] = 'alice_bob', options: Partial<UseChatOptions> = {}): UseChatReturn {
  const made = scope.run(() => useChat(group, { user: 'alice', environment: tab.environment, ...options }));
  if (made === undefined) throw new Error('the scope has ended');
  return made;
}

describe('useChat', () => {
  it('follows the state of the link', () => {
    const { state, isOpen } = use();
    expect(state.value?.name).toBe('connecting');
    browser.socket.accept();
    expect(isOpen.value).toBe(true);
    browser.socket.drop(1001);
    expect(state.value).toMatchObject({ name: 'waiting', cause: 'going_away' });
  });

  it('reports each message, and keeps the newest', () => {
    const heard: unknown[] = [];
    const { message } = use('alice_bob', { onMessage: (one) => heard.push(one.message) });
    browser.socket.accept();
    browser.socket.sendFrame({ message: 'one', from: 'bob', id: null, at: 1 });
    browser.socket.sendFrame({ message: 'two', from: 'bob', id: null, at: 2 });
    expect(heard).toEqual(['one', 'two']);
    expect(message.value?.message).toBe('two');
  });

  it('follows presence, queue and errors, and reports signals', () => {
    const signals: unknown[] = [];
    const { present, reachable, queued, isQueued, error, send } = use('alice_bob', { onSignal: (signal) => signals.push(signal) });
    void send('hello', 'm1');
    expect([queued.value, isQueued('m1'), isQueued('m2')]).toEqual([1, true, false]);
    browser.socket.accept();
    browser.socket.sendFrame({ presence: { user: 'bob', present: true, reachable: true } });
    browser.socket.sendFrame({ signal: { typing: true }, from: 'bob' });
    browser.socket.sendFrame({ error: { code: 'bad_json', detail: '' } });
    expect(isQueued('m1')).toBe(false);
    expect([queued.value, present.value, reachable.value, error.value?.code]).toEqual([0, true, true, 'bad_json']);
    expect(signals).toEqual([{ typing: true }]);
  });

  it('resolves with the acknowledgement', async () => {
    const { send } = use();
    browser.socket.accept();
    const ack = send('hello', 'm1');
    browser.socket.sendFrame({ ack: { id: 'm1', route: 'none', reached: 0, at: 5 } });
    await expect(ack).resolves.toMatchObject({ route: 'none' });
  });

  it('holds messages, and cancels them', async () => {
    const group = shallowRef('alice_bob');
    const { held, send, cancel } = use(group);
    browser.socket.accept();
    const sent = send('hello', { id: 'm1', hold: true });
    const next = send('next', { id: 'm2', hold: true });
    browser.socket.sendFrame({ ack: { id: 'm1', route: 'none', reached: 0, at: 5 } });
    expect(held.value).toEqual(['m1', 'm2']);
    expect([cancel('m1'), cancel('m3')]).toEqual([true, false]);
    await expect(sent).rejects.toMatchObject({ code: 'canceled' });
    group.value = 'alice_carol';
    await expect(next).rejects.toMatchObject({ code: 'link_lost' });
    expect(held.value).toEqual([]);
  });

  it('closes with the scope', () => {
    const { state } = use();
    browser.socket.accept();
    scope.stop();
    expect(browser.socket.clientClosed).toBe(1000);
    expect(state.value).toBe(null);
  });

  it('closes on close', () => {
    const { close } = use();
    browser.socket.accept();
    close();
    expect(browser.socket.clientClosed).toBe(1000);
  });

  it('opens another chat when the group changes', () => {
    const group = shallowRef('alice_bob');
    const { present, message } = use(group);
    browser.socket.accept();
    browser.socket.sendFrame({ presence: { user: 'bob', present: true } });
    browser.socket.sendFrame({ message: 'hi', from: 'bob', id: null, at: 1 });
    const before = browser.socket;
    group.value = 'alice_carol';
    expect(before.clientClosed).toBe(1000);
    expect(browser.socket.url).toContain('/ws/chat/alice_carol/');
    expect([present.value, message.value]).toEqual([null, null]);
  });

  it('ignores late events of the previous group', () => {
    const group = shallowRef('alice_bob');
    const heard: unknown[] = [];
    const { state } = use(group, { onMessage: (one) => heard.push(one.message) });
    browser.socket.accept();
    const before = browser.socket;
    group.value = 'alice_carol';
    browser.socket.accept();
    before.late.message({ message: 'late', from: 'bob', id: null, at: 1 });
    before.late.close(4403);
    expect(heard).toEqual([]);
    expect(state.value?.name).toBe('open');
  });

  it('is idle without a group', async () => {
    const group = shallowRef<string | null>(null);
    const { state, send, signal } = use(group);
    expect(browser.sockets).toHaveLength(0);
    expect(state.value).toBe(null);
    expect(signal(1)).toBe(false);
    await expect(send('hello')).rejects.toBeInstanceOf(SendError);
    group.value = 'alice_bob';
    expect(browser.sockets).toHaveLength(1);
  });

  it('throws for a group without the user', () => {
    expect(() => use('bob_carol')).toThrow(/not one of the two users/);
  });
});
