import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { openChat, type Chat } from './chat';
import type { LinkState } from './link_state';
import { connectPush, type Push } from './push';
import { FakeBrowser, fakeToken, type FakeSocket, type FakeTab } from './testing/fake_browser';
import type { TokenSource } from './token';

type Connection = Chat | Push;

let browser: FakeBrowser;
const opened: Connection[] = [];

beforeEach(() => {
  vi.useFakeTimers({ now: 1_700_000_000_000 });
  browser = new FakeBrowser();
});

afterEach(() => {
  for (const one of opened.splice(0)) one.close();
  vi.useRealTimers();
});

const flushPromises = (): Promise<unknown> => vi.advanceTimersByTimeAsync(0);
const notClosed = (): FakeSocket[] => browser.sockets.filter(({ readyState }) => readyState < 2);

/** Runs `act` at each state of this name. */
function at(name: LinkState['name'], one: Connection, act: () => void): void {
  const listener = ({ name: now }: LinkState): void => {
    if (now === name) act();
  };
  if ('group' in one) one.on('state', listener);
  else one.on('state', listener);
}

const kinds: readonly { readonly kind: string; readonly make: (tab: FakeTab, token: TokenSource | null) => Connection }[] = [
  { kind: 'a chat', make: ({ environment }, token) => openChat('alice_bob', { user: 'alice', environment, token }) },
  { kind: 'a push socket', make: ({ environment }, token) => connectPush('alice', { environment, token, shared: false }) },
  { kind: 'a shared push socket', make: ({ environment }, token) => connectPush('alice', { environment, token }) },
];
const sources: readonly { readonly source: string; readonly token: TokenSource | null }[] = [
  { source: 'no token', token: null },
  { source: 'a token', token: fakeToken({ sub: 'alice' }) },
  { source: 'a token function', token: () => Promise.resolve(fakeToken({ sub: 'alice' })) },
];
const cases = kinds.flatMap((kind) => sources.map((source) => ({ ...kind, ...source })));

describe.each(cases)('A listener of the state of $kind with $source', ({ make, token }) => {
  async function openOne(): Promise<Connection> {
    const one = make(browser.tab(), token);
    opened.push(one);
    await flushPromises();
    browser.socket.accept();
    return one;
  }

  it.each(['connecting', 'open', 'waiting'] as const)('closes it for good: %s', async (name) => {
    const one = await openOne();
    at(name, one, () => one.close());
    browser.socket.drop();
    await vi.advanceTimersByTimeAsync(1_000);
    if (name === 'open') browser.socket.accept();
    expect(one.state.name).toBe('closed');
    expect(notClosed()).toEqual([]);
    expect(browser.sockets).toHaveLength(name === 'open' ? 2 : 1);
    await flushPromises();
    expect(vi.getTimerCount()).toBe(0);
  });

  it('does not open it again while it closes', async () => {
    const one = await openOne();
    at('closed', one, () => {
      one.retry();
      one.setToken(fakeToken({ sub: 'alice', jti: 'new' }));
    });
    one.close();
    await flushPromises();
    expect(one.state.name).toBe('closed');
    expect(notClosed()).toEqual([]);
  });

  it.each(['the same token', 'a new token'] as const)('offers %s each time that it connects', async (which) => {
    const one = await openOne();
    let offers = 0;
    const offered = (): string => fakeToken({ sub: 'alice', jti: which === 'a new token' ? String(offers) : '' });
    at('connecting', one, () => {
      offers += 1;
      one.setToken(offered());
    });
    browser.socket.drop();
    await vi.advanceTimersByTimeAsync(1_000);
    expect(offers).toBe(1);
    expect(browser.sockets).toHaveLength(2);
    expect(browser.socket.protocols).toContain(`bearer.${offered()}`);
    one.close();
    expect(notClosed()).toEqual([]);
  });
});

describe('A listener of the state, while a token is fetched', () => {
  it.each(kinds)('closes $kind after its token has expired', async ({ make }) => {
    const token = vi.fn(async (reason: string) => {
      if (reason === 'expired') throw new Error('no new token');
      return fakeToken({ sub: 'alice' });
    });
    const one = make(browser.tab(), token);
    opened.push(one);
    await flushPromises();
    browser.socket.accept();
    at('connecting', one, () => one.close());
    browser.socket.drop(4401);
    await flushPromises();
    expect(token).toHaveBeenLastCalledWith('expired');
    expect(one.state.name).toBe('closed');
    expect(vi.getTimerCount()).toBe(0);
    expect(browser.sockets).toHaveLength(1);
  });

  it.each(kinds)('offers a token to $kind, which needs the fetched one no longer', async ({ make }) => {
    const one = make(browser.tab(), async (reason) => (reason === 'expired' ? new Promise<null>(() => {}) : fakeToken({ sub: 'alice' })));
    opened.push(one);
    await flushPromises();
    browser.socket.accept();
    const fresh = fakeToken({ sub: 'alice', jti: 'fresh' });
    at('connecting', one, () => one.setToken(fresh));
    browser.socket.drop(4401);
    await flushPromises();
    expect(browser.sockets).toHaveLength(2);
    expect(browser.socket.protocols).toContain(`bearer.${fresh}`);
    browser.socket.accept();
    await vi.advanceTimersByTimeAsync(15_000);
    expect(one.state.name).toBe('open');
  });
});

describe('A listener of the state of a shared push socket', () => {
  function connect(): Push {
    const push = connectPush('alice', { environment: browser.tab().environment });
    opened.push(push);
    return push;
  }

  it('closes it when its tab takes over, and the next tab takes over', async () => {
    const [first, second, third] = [connect(), connect(), connect()];
    await flushPromises();
    browser.socket.accept();
    at('connecting', second, () => second.close());
    first.close();
    await flushPromises();
    expect(second.state.name).not.toBe('open');
    expect(notClosed()).toHaveLength(1);
    browser.socket.accept();
    expect(third.state.name).toBe('open');
  });

  it('closes it when its tab takes over from one that is gone', async () => {
    const first = connect();
    await flushPromises();
    browser.socket.accept();
    const second = connect();
    await flushPromises();
    // The first tab is gone without a word to the others.
    browser.channelsWork = false;
    at('connecting', second, () => second.close());
    first.close();
    await flushPromises();
    expect(browser.sockets).toHaveLength(1);
    browser.channelsWork = true;
    const third = connect();
    await flushPromises();
    browser.socket.accept();
    expect(third.state.name).toBe('open');
  });

  it('retries, and the other tabs see the states in their order', async () => {
    const first = connect();
    await flushPromises();
    browser.socket.accept();
    const second = connect();
    await flushPromises();
    const seen: string[] = [];
    second.on('state', ({ name }) => seen.push(name));
    at('waiting', first, () => first.retry());
    browser.socket.drop();
    expect(seen).toEqual(['waiting', 'connecting']);
    expect(second.state.name).toBe('connecting');
  });

  it('closes it, and its token function is not called again', async () => {
    const first = connect();
    await flushPromises();
    browser.socket.accept();
    const token = vi.fn(() => fakeToken({ sub: 'alice' }));
    const second = connectPush('alice', { environment: browser.tab().environment, token });
    await flushPromises();
    at('closed', second, () => second.close());
    browser.socket.drop(4401);
    await flushPromises();
    expect(first.state.name).toBe('closed');
    expect(token).not.toHaveBeenCalled();
  });
});

describe.each(kinds)('The token function of $kind', ({ make }) => {
  /** Opens one, and calls `act` in the next call of its token function. */
  async function openedOnce(act: (one: Connection) => void): Promise<Connection> {
    let calls = 0;
    const one = make(browser.tab(), () => {
      calls += 1;
      if (calls > 1) act(one);
      return Promise.resolve(fakeToken({ sub: 'alice' }));
    });
    opened.push(one);
    await flushPromises();
    browser.socket.accept();
    browser.socket.drop();
    return one;
  }

  it('closes it for good', async () => {
    const one = await openedOnce(() => one.close());
    await vi.advanceTimersByTimeAsync(100_000);
    expect(browser.sockets).toHaveLength(1);
    expect(one.state.name).toBe('closed');
  });

  it('offers the token that it returns, and one socket is opened', async () => {
    await openedOnce((one) => one.setToken(fakeToken({ sub: 'alice' })));
    await vi.advanceTimersByTimeAsync(1_000);
    expect(notClosed()).toHaveLength(1);
  });
});
