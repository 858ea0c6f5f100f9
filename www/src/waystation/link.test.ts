import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Link, type LinkOptions } from './link';
import { defaultTuning, type LinkState } from './link_state';
import type { Frame } from './protocol';
import { FakeBrowser, fakeToken, type FakeSocket, type FakeTab } from './testing/fake_browser';

let browser: FakeBrowser;
let tab: FakeTab;
let states: LinkState[];
let frames: Frame[];
let link: Link | null = null;

beforeEach(() => {
  vi.useFakeTimers({ now: 1_700_000_000_000 });
  browser = new FakeBrowser();
  tab = browser.tab();
  states = [];
  frames = [];
});

afterEach(() => {
  link?.dispose();
  link = null;
  vi.useRealTimers();
});

function start(options: Partial<LinkOptions> = {}): Link {
  link = new Link(
    {
      url: new URL('http://relay.example:8080/push/alice/'),
      user: null,
      token: null,
      protocol: 'v1',
      tuning: defaultTuning,
      environment: tab.environment,
      ...options,
    },
    { onState: (state) => states.push(state), onFrame: (frame) => frames.push(frame) },
  );
  link.start();
  return link;
}

/** Runs pending promise callbacks without advancing the time. */
const flushPromises = (): Promise<unknown> => vi.advanceTimersByTimeAsync(0);

const openFor = async (options: Partial<LinkOptions> = {}): Promise<Link> => {
  const started = start(options);
  await flushPromises();
  browser.socket.accept();
  return started;
};

describe('Link, connecting', () => {
  it('offers the subprotocol at the address of the route', () => {
    start();
    expect(browser.socket.url).toBe('ws://relay.example:8080/push/alice/');
    expect(browser.socket.protocols).toEqual(['waystation.v1']);
  });

  it('goes from connecting to open', async () => {
    await openFor();
    expect(states.map((state) => state.name)).toEqual(['connecting', 'open']);
  });

  it('uses wss where the server has https', () => {
    start({ url: new URL('https://relay.example/push/alice/') });
    expect(browser.socket.url).toBe('wss://relay.example/push/alice/');
  });

  it('names the user in the query if there is no token', () => {
    start({ user: 'alice' });
    expect(browser.socket.url).toContain('?user=alice');
  });

  it('offers a token next to the subprotocol, without a user in the query', async () => {
    start({ token: 'a.b.c', user: 'alice' });
    await flushPromises();
    expect(browser.socket.protocols).toEqual(['waystation.v1', 'bearer.a.b.c']);
    expect(browser.socket.url).not.toContain('user=');
  });

  it('offers no subprotocol in the plain protocol', () => {
    start({ protocol: 'plain' });
    expect(browser.socket.protocols).toEqual([]);
  });

  it('rejects a token in the plain protocol', () => {
    expect(() => start({ protocol: 'plain', token: 'a.b.c' })).toThrow(/cookie/);
  });

  it('abandons an upgrade at its deadline', async () => {
    start();
    const slow = browser.socket;
    await vi.advanceTimersByTimeAsync(defaultTuning.connectDeadlineMs);
    expect(slow.clientClosed).toBe('no code');
    expect(link?.state.name).toBe('waiting');
  });
});

describe('Link, reconnecting', () => {
  it('waits longer after each failure, up to the cap', async () => {
    start();
    const delays: number[] = [];
    for (let i = 0; i < 10; i += 1) {
      browser.socket.drop();
      await flushPromises();
      const state = link?.state;
      if (state?.name !== 'waiting') throw new Error(`not waiting but ${state?.name}`);
      delays.push(state.retryAt - Date.now());
      await vi.advanceTimersByTimeAsync(state.retryAt - Date.now());
    }
    expect(delays).toEqual([500, 1000, 2000, 4000, 8000, 16000, 30000, 30000, 30000, 30000]);
  });

  it('spreads its delay over the whole interval', async () => {
    browser.random = 0.25;
    start();
    browser.socket.drop();
    await flushPromises();
    expect(link?.state).toMatchObject({ name: 'waiting', retryAt: Date.now() + 125 });
  });

  it('resets the backoff after a stable connection', async () => {
    await openFor();
    browser.socket.drop(1006);
    await vi.advanceTimersByTimeAsync(500);
    browser.socket.accept();
    await vi.advanceTimersByTimeAsync(defaultTuning.stableMs);
    browser.socket.drop(1006);
    expect(link?.state).toMatchObject({ name: 'waiting', retryAt: Date.now() + 500 });
  });

  it('does not reset the backoff with a server that closes at once', async () => {
    await openFor();
    browser.socket.drop(1006);
    await vi.advanceTimersByTimeAsync(500);
    browser.socket.accept();
    browser.socket.drop(1006);
    expect(link?.state).toMatchObject({ name: 'waiting', retryAt: Date.now() + 1000 });
  });

  it.each([
    [1001, 'going_away'],
    [1013, 'full'],
    [4408, 'too_slow'],
    [1006, 'lost'],
    [1009, 'lost'],
    [1011, 'lost'],
  ])('waits after close code %i, because of %s', async (code, cause) => {
    await openFor();
    browser.socket.drop(code);
    expect(link?.state).toMatchObject({ name: 'waiting', cause, code });
  });

  it('connects at once when the browser comes online', async () => {
    await openFor();
    browser.socket.drop();
    tab.fire('online');
    expect(browser.sockets).toHaveLength(2);
    expect(link?.state.name).toBe('connecting');
  });

  it('connects at once when the tab becomes visible', async () => {
    await openFor();
    browser.socket.drop();
    tab.show('hidden');
    expect(browser.sockets).toHaveLength(1);
    tab.show('visible');
    expect(browser.sockets).toHaveLength(2);
  });

  it('obeys Retry-After, even when the network returns', async () => {
    browser.probeAnswer = { status: 503, headers: { 'Retry-After': '5' }, body: { error: { code: 'full', detail: 'no room' } } };
    start();
    browser.socket.drop();
    await flushPromises();
    expect(link?.state).toMatchObject({ name: 'waiting', cause: 'full', retryAt: Date.now() + 5000 + 500 });
    tab.fire('online');
    expect(browser.sockets).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(5500);
    expect(browser.sockets).toHaveLength(2);
  });

  it('obeys Retry-After when the page returns, and not when the application retries', async () => {
    browser.probeAnswer = { status: 502, headers: { 'Retry-After': '60' } };
    const made = start();
    browser.socket.drop();
    await flushPromises();
    tab.fire('pagehide');
    await vi.advanceTimersByTimeAsync(20_000);
    tab.fire('pageshow');
    expect(made.state).toMatchObject({ name: 'waiting', cause: 'full', retryAt: Date.now() + 40_000 + 500 });
    await vi.advanceTimersByTimeAsync(40_499);
    expect(browser.sockets).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(1);
    expect(browser.sockets).toHaveLength(2);
    browser.socket.drop();
    await flushPromises();
    made.retry();
    expect(browser.sockets).toHaveLength(3);
  });

  it('connects when the page returns although the clock went back', async () => {
    await openFor();
    browser.socket.drop();
    await vi.advanceTimersByTimeAsync(1_000);
    browser.socket.accept();
    tab.fire('pagehide');
    vi.setSystemTime(Date.now() - 3_600_000);
    tab.fire('pageshow');
    expect(browser.sockets).toHaveLength(3);
  });

  it('connects when the page returns after the time of Retry-After', async () => {
    browser.probeAnswer = { status: 503, headers: { 'Retry-After': '60' } };
    start();
    browser.socket.drop();
    await flushPromises();
    tab.fire('pagehide');
    await vi.advanceTimersByTimeAsync(60_000);
    tab.fire('pageshow');
    expect(browser.sockets).toHaveLength(2);
  });

  it.each(['99999999999', '1e400', 'Wed, 21 Oct 2015 07:28:00 GMT', '-5'])('limits a Retry-After of %s to five minutes', async (after) => {
    browser.probeAnswer = { status: 503, headers: { 'Retry-After': after } };
    start();
    browser.socket.drop();
    await flushPromises();
    const { state } = link ?? {};
    if (state?.name !== 'waiting') throw new Error(`not waiting but ${state?.name}`);
    expect(state.retryAt).toBeLessThanOrEqual(Date.now() + 6 * 60_000);
    await vi.advanceTimersByTimeAsync(state.retryAt - Date.now() - 1);
    expect(browser.sockets).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(1);
    expect(browser.sockets).toHaveLength(2);
  });

  it('restarts an upgrade that began before the network returned', async () => {
    start();
    const stale = browser.socket;
    await vi.advanceTimersByTimeAsync(900);
    tab.fire('online');
    expect(browser.sockets).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(100);
    tab.fire('online');
    expect(stale.clientClosed).toBe('no code');
    expect(browser.sockets).toHaveLength(2);
    browser.socket.accept();
    expect(link?.state.name).toBe('open');
  });

  it('resets the backoff when the network returns', async () => {
    start();
    for (let i = 0; i < 5; i += 1) {
      browser.socket.drop();
      await vi.advanceTimersByTimeAsync(30_000);
    }
    browser.socket.drop();
    await flushPromises();
    tab.fire('online');
    browser.socket.drop();
    await flushPromises();
    expect(link?.state).toMatchObject({ name: 'waiting', retryAt: Date.now() + 500 });
  });

  it('reports a server that does not answer as unreachable', async () => {
    browser.probeAnswer = 'unreachable';
    start();
    browser.socket.drop();
    await flushPromises();
    expect(link?.state).toMatchObject({ name: 'waiting', cause: 'unreachable' });
  });

  it('reports a server that does not answer pages of this origin as blocked, and tries again', async () => {
    browser.probeAnswer = 'hidden';
    start({ environment: { ...tab.environment, location: 'https://elsewhere.example/' } });
    browser.socket.drop();
    await flushPromises();
    expect(link?.state).toMatchObject({ name: 'waiting', cause: 'blocked' });
    // The second question has no identity.
    expect(browser.probes.map(({ credentials }) => credentials)).toEqual(['include', 'omit']);
    await vi.advanceTimersByTimeAsync(60_000);
    expect(browser.sockets.length).toBeGreaterThan(1);
  });

  it('asks a server of its own origin once', async () => {
    browser.probeAnswer = 'hidden';
    start();
    browser.socket.drop();
    await flushPromises();
    expect(link?.state).toMatchObject({ name: 'waiting', cause: 'unreachable' });
    expect(browser.probes.length).toBe(1);
  });

  it('reports another page at the address as unreachable', async () => {
    browser.probeAnswer = { status: 200, body: 'sign in to the hotel network' };
    start();
    browser.socket.drop();
    await flushPromises();
    expect(link?.state).toMatchObject({ name: 'waiting', cause: 'unreachable' });
  });

  it('connects at once on retry', async () => {
    await openFor();
    browser.socket.drop();
    link?.retry();
    expect(browser.sockets).toHaveLength(2);
  });
});

describe('Link, closed', () => {
  it.each([401, 403])('stops after a refusal with %i, and reports the reason', async (status) => {
    browser.probeAnswer = { status, body: { error: { code: 'not_that_user', detail: 'you are bob' } } };
    start();
    browser.socket.drop();
    await flushPromises();
    expect(link?.state).toEqual({ name: 'closed', reason: { cause: 'refused', status, code: 'not_that_user', detail: 'you are bob' } });
    await vi.advanceTimersByTimeAsync(3_600_000);
    tab.fire('online');
    expect(browser.sockets).toHaveLength(1);
  });

  it.each([400, 404, 501])('stops after a final refusal with %i', async (status) => {
    browser.probeAnswer = { status, body: { error: { code: 'bad_user', detail: 'no' } } };
    start({ token: () => 'a.b.c' });
    await flushPromises();
    browser.socket.drop();
    await flushPromises();
    expect(link?.state).toMatchObject({ name: 'closed', reason: { status } });
  });

  it.each([
    [4401, 'expired'],
    [4403, 'ended'],
  ])('stops after close code %i without another token', async (code, cause) => {
    await openFor({ token: () => 'a.b.c' });
    browser.socket.drop(code);
    await flushPromises();
    expect(link?.state).toMatchObject({ name: 'closed', reason: { cause } });
    await vi.advanceTimersByTimeAsync(3_600_000);
    tab.show('visible');
    expect(browser.sockets).toHaveLength(1);
  });

  it('closes with 1000 on close, and stays closed', async () => {
    await openFor();
    const { socket } = browser;
    link?.close();
    expect(socket.clientClosed).toBe(1000);
    expect(link?.state).toMatchObject({ name: 'closed', reason: { cause: 'left' } });
    await vi.advanceTimersByTimeAsync(3_600_000);
    tab.fire('online');
    expect(browser.sockets).toHaveLength(1);
  });

  it('closes with 1000 when the user leaves the page, and reconnects when the page returns', async () => {
    await openFor();
    const { socket } = browser;
    tab.fire('pagehide');
    expect(socket.clientClosed).toBe(1000);
    tab.fire('pageshow');
    expect(browser.sockets).toHaveLength(2);
  });

  it('does not reconnect with the page if it was closed before', async () => {
    await openFor();
    link?.close();
    tab.fire('pagehide');
    tab.fire('pageshow');
    expect(browser.sockets).toHaveLength(1);
  });

  it('does not reconnect with the page if the application has already done so', async () => {
    const made = await openFor();
    tab.fire('pagehide');
    made.retry();
    browser.socket.accept();
    tab.fire('pageshow');
    expect(browser.sockets).toHaveLength(2);
    expect(made.state.name).toBe('open');
  });

  it('keeps its reason on a later close', async () => {
    await openFor();
    browser.socket.drop(4403);
    await flushPromises();
    link?.close();
    expect(link?.state).toMatchObject({ name: 'closed', reason: { cause: 'ended' } });
  });

  it('stays closed after dispose', async () => {
    await openFor();
    link?.dispose();
    link?.retry();
    link?.setToken('new.new.new');
    await flushPromises();
    expect(browser.sockets).toHaveLength(1);
  });

  it.each(['a.b.c=', 'a b'])('reports a token such as %s as unusable, and connects with another', async (token) => {
    start({ token });
    expect(link?.state).toMatchObject({ name: 'closed', reason: { cause: 'unusable', detail: 'no such subprotocol' } });
    link?.setToken('a.b.c');
    browser.socket.accept();
    expect(link?.state.name).toBe('open');
  });

  it('stops listening to the page on dispose', async () => {
    await openFor();
    link?.dispose();
    tab.fire('pageshow');
    tab.fire('online');
    expect(browser.sockets).toHaveLength(1);
  });
});

describe('Link, tokens', () => {
  it('fetches a token for each connection', async () => {
    const source = vi.fn(() => 'a.b.c');
    await openFor({ token: source });
    browser.socket.drop();
    await vi.advanceTimersByTimeAsync(500);
    expect(source.mock.calls).toEqual([['connect'], ['connect']]);
  });

  it('retries when the token function fails', async () => {
    const source = vi.fn().mockRejectedValueOnce(new Error('offline')).mockResolvedValue('a.b.c');
    start({ token: source });
    await flushPromises();
    expect(link?.state).toMatchObject({ name: 'waiting', cause: 'token_failed' });
    await vi.advanceTimersByTimeAsync(500);
    expect(browser.sockets).toHaveLength(1);
  });

  it.each([
    [4401, 'expired'],
    [4403, 'ended'],
  ])('reconnects after close code %i with a new token', async (code, reason) => {
    const source = vi.fn((why: string) => (why === 'connect' ? 'old.old.old' : 'new.new.new'));
    await openFor({ token: source });
    browser.socket.drop(code);
    await flushPromises();
    expect(source).toHaveBeenLastCalledWith(reason);
    expect(browser.socket.protocols).toContain('bearer.new.new.new');
  });

  it('retries when the token function does not answer', async () => {
    const source = vi.fn((): string | Promise<string> => 'a.b.c').mockReturnValueOnce(new Promise<string>(() => {}));
    start({ token: source });
    await vi.advanceTimersByTimeAsync(defaultTuning.connectDeadlineMs);
    expect(link?.state).toMatchObject({ name: 'waiting', cause: 'token_failed' });
    await vi.advanceTimersByTimeAsync(500);
    expect(browser.socket.protocols).toContain('bearer.a.b.c');
  });

  it('connects with a token that arrives while the function still runs', async () => {
    let resolveToken: (token: string) => void = () => {};
    start({ token: () => new Promise<string>((resolve) => { resolveToken = resolve; }) });
    link?.setToken('new.new.new');
    expect(browser.socket.protocols).toContain('bearer.new.new.new');
    resolveToken('old.old.old');
    await flushPromises();
    expect(browser.sockets).toHaveLength(1);
  });

  it('tries one new token at once, and later ones with growing delays', async () => {
    browser.probeAnswer = { status: 401, body: { error: { code: 'unauthenticated', detail: 'no' } } };
    let minted = 0;
    start({ token: () => `new.token.${(minted += 1)}` });
    const at: number[] = [];
    const begun = Date.now();
    for (let i = 0; i < 5; i += 1) {
      await flushPromises();
      at.push(Date.now() - begun);
      browser.socket.drop();
      await flushPromises();
      const { state } = link ?? {};
      if (state?.name === 'waiting') {
        expect(state.cause).toBe('token_rejected');
        await vi.advanceTimersByTimeAsync(state.retryAt - Date.now());
      }
    }
    // Full jitter at its limit: 1 s, 2 s, 4 s.
    expect(at).toEqual([0, 0, 1000, 3000, 7000]);
    expect(browser.sockets).toHaveLength(6);
    expect(minted).toBe(6);
  });

  it.each([4401, 4403])('does not go on at once for ever with a server that closes with %i', async (code) => {
    let minted = 0;
    start({ token: () => `new.token.${(minted += 1)}` });
    for (let i = 0; i < 20; i += 1) {
      await flushPromises();
      if (link?.state.name !== 'connecting') break;
      browser.socket.accept();
      browser.socket.drop(code);
    }
    expect(link?.state).toMatchObject({ name: 'waiting', cause: 'token_rejected' });
    expect(browser.sockets).toHaveLength(2);
  });

  it('probes with the cookie of the upgrade', async () => {
    start();
    browser.socket.drop();
    await flushPromises();
    expect(browser.probes[0]?.credentials).toBe('include');
  });

  it('probes with the refused token', async () => {
    browser.probeAnswer = { status: 401, body: { error: { code: 'unauthenticated', detail: 'expired' } } };
    const source = vi.fn((why: string) => (why === 'connect' ? 'old.old.old' : 'new.new.new'));
    start({ token: source });
    await flushPromises();
    browser.socket.drop();
    await flushPromises();
    expect(browser.probes[0]?.authorization).toBe('Bearer old.old.old');
    expect(source).toHaveBeenLastCalledWith('refused');
    expect(browser.socket.protocols).toContain('bearer.new.new.new');
  });

  it('renews a token on the open socket before it expires', async () => {
    const seconds = Date.now() / 1000;
    const first = fakeToken({ sub: 'alice', exp: seconds + 300 });
    const second = fakeToken({ sub: 'alice', exp: seconds + 900 });
    const source = vi.fn((why: string) => (why === 'connect' ? first : second));
    await openFor({ token: source, tuning: { ...defaultTuning, heartbeatMs: 0 } });
    await vi.advanceTimersByTimeAsync(300_000 - defaultTuning.renewMs - 1);
    expect(source).toHaveBeenCalledTimes(1);
    await vi.advanceTimersByTimeAsync(1);
    expect(source).toHaveBeenLastCalledWith('expiring');
    expect(browser.socket.frames).toEqual([{ token: second }]);
    expect(browser.sockets).toHaveLength(1);
  });

  it.each([20, 5, 1])('does not renew again and again a token that lives for %i s', async (life) => {
    const source = vi.fn(() => fakeToken({ sub: 'alice', exp: Date.now() / 1000 + life, jti: source.mock.calls.length }));
    await openFor({ token: source, tuning: { ...defaultTuning, heartbeatMs: 0 } });
    await vi.advanceTimersByTimeAsync(60_000);
    expect(source.mock.calls.length).toBeLessThanOrEqual(60 / 5 + 1);
    // At half of its remaining life.
    if (life === 20) expect(source).toHaveBeenCalledTimes(1 + 6);
  });

  it('keeps the old token if the server rejects the new one', async () => {
    const first = fakeToken({ sub: 'alice', exp: Date.now() / 1000 + 60 });
    const source = vi.fn((why: string) => (why === 'connect' ? first : fakeToken({ sub: 'alice', exp: Date.now() / 1000 + 600, jti: why })));
    await openFor({ token: source, tuning: { ...defaultTuning, heartbeatMs: 0 } });
    link?.setToken('bad.bad.bad');
    browser.socket.sendFrame({ error: { code: 'bad_token', detail: 'not for this user' } });
    expect(frames.map((frame) => frame.kind)).toEqual(['error']);
    // The renewal time is still that of the first token.
    await vi.advanceTimersByTimeAsync(30_000);
    expect(source).toHaveBeenLastCalledWith('expiring');
    // A new connection fetches a token again.
    browser.socket.drop(1006);
    await vi.advanceTimersByTimeAsync(500);
    expect(browser.socket.protocols).toContain(`bearer.${first}`);
  });

  it('sends a token from setToken over the open socket', async () => {
    await openFor({ token: 'old.old.old' });
    link?.setToken('new.new.new');
    expect(browser.socket.frames).toEqual([{ token: 'new.new.new' }]);
  });

  it('connects with a token that arrives after the link closed', async () => {
    await openFor({ token: 'old.old.old' });
    browser.socket.drop(4401);
    await flushPromises();
    expect(link?.state.name).toBe('closed');
    link?.setToken('new.new.new');
    await flushPromises();
    expect(browser.socket.protocols).toContain('bearer.new.new.new');
  });

  it('does not connect with the token that was just rejected', async () => {
    await openFor({ token: 'old.old.old' });
    browser.socket.drop(4401);
    await flushPromises();
    link?.setToken('old.old.old');
    expect(browser.sockets).toHaveLength(1);
  });

  it('does not open a link that was closed by the application', async () => {
    await openFor({ token: 'old.old.old' });
    link?.close();
    link?.setToken('new.new.new');
    expect(browser.sockets).toHaveLength(1);
  });
});

describe('Link, heartbeat', () => {
  const { heartbeatMs, heartbeatDeadlineMs } = defaultTuning;
  const refusal = (id: unknown): unknown => ({ error: { code: 'bad_envelope', detail: 'no message', id } });

  it.each([
    ['an answer', { pong: 1 }],
    ['a refusal', refusal('ping-1')],
  ])('pings a silent connection, and accepts %s as the answer', async (_what, answer) => {
    await openFor();
    await vi.advanceTimersByTimeAsync(heartbeatMs);
    expect(browser.socket.frames).toEqual([{ ping: 1, id: 'ping-1' }]);
    browser.socket.sendFrame(answer);
    browser.probeAnswer = 'unreachable';
    await vi.advanceTimersByTimeAsync(heartbeatDeadlineMs);
    expect(link?.state.name).toBe('open');
    expect(frames).toEqual([]);
    // The server has answered once.
    await vi.advanceTimersByTimeAsync(heartbeatMs + heartbeatDeadlineMs);
    expect(states.some((state) => state.name === 'waiting' && state.cause === 'silent')).toBe(true);
  });

  it('does not pass on an unexpected pong', async () => {
    await openFor();
    browser.socket.sendFrame({ pong: 1 });
    browser.socket.sendFrame(refusal(null));
    expect(frames.map((frame) => frame.kind)).toEqual(['error']);
  });

  it('sends no ping while frames arrive', async () => {
    await openFor();
    for (let i = 0; i < 10; i += 1) {
      await vi.advanceTimersByTimeAsync(heartbeatMs / 2);
      browser.socket.sendFrame({ signal: i, from: 'bob' });
    }
    expect(browser.socket.received).toEqual([]);
  });

  it('closes a connection that stopped answering pings', async () => {
    await openFor();
    await vi.advanceTimersByTimeAsync(heartbeatMs);
    browser.socket.sendFrame(refusal('ping-1'));
    const { socket } = browser;
    await vi.advanceTimersByTimeAsync(heartbeatMs * 2 + heartbeatDeadlineMs);
    expect(socket.clientClosed).toBe(4000);
    expect(states.some((state) => state.name === 'waiting' && state.cause === 'silent')).toBe(true);
  });

  it('keeps a connection that never answered while the server is reachable', async () => {
    await openFor();
    await vi.advanceTimersByTimeAsync(heartbeatMs * 5);
    expect(link?.state.name).toBe('open');
    expect(browser.probes.length).toBeGreaterThan(1);
  });

  it('closes a connection that never answered when the server is unreachable', async () => {
    await openFor();
    browser.probeAnswer = 'unreachable';
    await vi.advanceTimersByTimeAsync(heartbeatMs + heartbeatDeadlineMs);
    expect(link?.state).toMatchObject({ name: 'waiting', cause: 'silent' });
  });

  it('keeps a connection that receives a frame during the probe', async () => {
    let fail: (error: Error) => void = () => {};
    const environment = { ...tab.environment, fetch: () => new Promise<Response>((_, reject) => { fail = reject; }) };
    await openFor({ environment });
    await vi.advanceTimersByTimeAsync(heartbeatMs + heartbeatDeadlineMs);
    await vi.advanceTimersByTimeAsync(1);
    browser.socket.sendFrame({ signal: 1, from: 'bob' });
    fail(new TypeError('failed to fetch'));
    await flushPromises();
    expect(link?.state.name).toBe('open');
  });

  it('does not pass on a rate limit error for a ping', async () => {
    await openFor();
    await vi.advanceTimersByTimeAsync(heartbeatMs);
    browser.socket.sendFrame({ error: { code: 'rate_limited', detail: 'slower', id: 'ping-1' } });
    expect(frames).toEqual([]);
  });

  it('accepts any other frame as a sign of life, and passes it on', async () => {
    await openFor();
    await vi.advanceTimersByTimeAsync(heartbeatMs);
    browser.socket.sendFrame({ signal: 1, from: 'bob' });
    browser.probeAnswer = 'unreachable';
    await vi.advanceTimersByTimeAsync(heartbeatDeadlineMs);
    expect(link?.state.name).toBe('open');
    browser.socket.sendFrame(refusal(null));
    expect(frames.map((frame) => frame.kind)).toEqual(['signal']);
  });

  it('passes on an error that no ping caused', async () => {
    await openFor();
    browser.socket.sendFrame(refusal(null));
    expect(frames.map((frame) => frame.kind)).toEqual(['error']);
  });

  it('pings at once when the tab becomes visible or the network changes', async () => {
    await openFor();
    tab.show('visible');
    expect(browser.socket.frames).toEqual([{ ping: 1, id: 'ping-1' }]);
    browser.socket.sendFrame(refusal('ping-1'));
    tab.fire('online');
    expect(browser.socket.frames).toHaveLength(2);
  });
});

describe('Link, late events of a stale socket', () => {
  const replaced = async (): Promise<{ old: FakeBrowser['socket'] }> => {
    await openFor();
    const old = browser.socket;
    old.drop(1006);
    await vi.advanceTimersByTimeAsync(500);
    browser.socket.accept();
    expect(link?.state.name).toBe('open');
    states.length = 0;
    return { old };
  };

  it('deliver no message', async () => {
    const { old } = await replaced();
    old.late.message({ event: { message: 'late', group: null, from: null, id: null, at: 1 } });
    expect(frames).toEqual([]);
  });

  it('do not close the new socket', async () => {
    const { old } = await replaced();
    old.late.close(4403);
    await flushPromises();
    expect(states).toEqual([]);
    expect(link?.state.name).toBe('open');
  });

  it('do not open a waiting link', async () => {
    start();
    const slow = browser.socket;
    await vi.advanceTimersByTimeAsync(defaultTuning.connectDeadlineMs);
    expect(link?.state.name).toBe('waiting');
    slow.late.open();
    expect(link?.state.name).toBe('waiting');
  });

  it('do not open a closed link', async () => {
    await openFor();
    const old = browser.socket;
    link?.close();
    old.late.open();
    old.late.message({ signal: 1, from: 'bob' });
    old.late.close(1006);
    await vi.advanceTimersByTimeAsync(60_000);
    expect(link?.state).toMatchObject({ name: 'closed', reason: { cause: 'left' } });
    expect(frames).toEqual([]);
    expect(browser.sockets).toHaveLength(1);
  });

  it('include the answer to an old probe', async () => {
    let answerNow: (response: Response) => void = () => {};
    const environment = {
      ...tab.environment,
      fetch: () => new Promise<Response>((resolve) => { answerNow = resolve; }),
    };
    start({ environment });
    browser.socket.drop();
    link?.close();
    link?.retry();
    browser.socket.accept();
    answerNow(new Response('{"error":{"code":"not_that_user","detail":""}}', { status: 403 }));
    await flushPromises();
    expect(link?.state.name).toBe('open');
  });

  it('include a token that arrives after the link was closed', async () => {
    let resolveToken: (token: string) => void = () => {};
    start({ token: () => new Promise<string>((resolve) => { resolveToken = resolve; }) });
    link?.close();
    resolveToken('a.b.c');
    await flushPromises();
    expect(browser.sockets).toHaveLength(0);
    expect(link?.state.name).toBe('closed');
  });

  it('include a token function that fails after the link was closed', async () => {
    let fail: (error: Error) => void = () => {};
    start({ token: () => new Promise<string>((_, reject) => { fail = reject; }) });
    link?.close();
    fail(new Error('offline'));
    await flushPromises();
    expect(link?.state).toMatchObject({ name: 'closed', reason: { cause: 'left' } });
  });

  it.each(['returns a token', 'fails'])('include a token function that %s after another attempt has begun', async (how) => {
    browser.probeAnswer = { status: 401 };
    let answer: () => void = () => {};
    const source = (why: string): string | Promise<string> =>
      why === 'connect'
        ? 'old.old.old'
        : new Promise((resolve, reject) => {
            answer = () => (how === 'fails' ? reject(new Error('offline')) : resolve('late.late.late'));
          });
    start({ token: source });
    await flushPromises();
    browser.socket.drop();
    await flushPromises();
    link?.setToken('new.new.new');
    browser.socket.accept();
    answer();
    await flushPromises();
    expect(link?.state.name).toBe('open');
    expect(browser.sockets).toHaveLength(2);
    expect(browser.socket.received).toEqual([]);
  });

  it('include the answer to a heartbeat probe of an old connection', async () => {
    let fail: (error: Error) => void = () => {};
    const environment = { ...tab.environment, fetch: () => new Promise<Response>((_, reject) => { fail = reject; }) };
    await openFor({ environment });
    await vi.advanceTimersByTimeAsync(defaultTuning.heartbeatMs + defaultTuning.heartbeatDeadlineMs);
    browser.socket.drop(1006);
    await vi.advanceTimersByTimeAsync(500);
    browser.socket.accept();
    fail(new TypeError('failed to fetch'));
    await flushPromises();
    expect(link?.state.name).toBe('open');
    expect(browser.socket.clientClosed).toBe(null);
  });

  it('include a renewed token of an old connection', async () => {
    const first = fakeToken({ sub: 'alice', exp: Date.now() / 1000 + 60 });
    let resolveToken: (token: string) => void = () => {};
    const source = (why: string): string | Promise<string> =>
      why === 'expiring' ? new Promise<string>((resolve) => { resolveToken = resolve; }) : first;
    await openFor({ token: source });
    await vi.advanceTimersByTimeAsync(30_000);
    browser.socket.drop(1006);
    await vi.advanceTimersByTimeAsync(500);
    browser.socket.accept();
    resolveToken('new.new.new');
    await flushPromises();
    expect(browser.socket.frames.filter((frame) => 'token' in frame)).toEqual([]);
  });
});

describe('Links of one page', () => {
  const others: Link[] = [];
  const another = (environment = tab.environment, host = 'relay.example:8080'): Link => {
    const url = new URL(`http://${host}/ws/chat/alice_bob/`);
    const options: LinkOptions = { url, user: 'alice', token: null, protocol: 'v1', tuning: defaultTuning, environment };
    const made = new Link(options, { onState: () => {}, onFrame: () => {} });
    others.push(made);
    made.start();
    return made;
  };
  const newest = (path: string): FakeSocket => browser.sockets.filter(({ url }) => url.includes(path)).pop()!;

  afterEach(() => {
    for (const one of others.splice(0)) one.dispose();
  });

  /** Both links lost a server that does not answer, and wait. */
  async function bothWaiting(environment = tab.environment, host?: string): Promise<Link> {
    const chat = another(environment, host);
    const push = await openFor();
    newest('/ws/chat/').accept();
    browser.probeAnswer = 'unreachable';
    newest('/ws/chat/').drop();
    newest('/push/').drop();
    for (let i = 0; i < 6; i += 1) {
      await vi.advanceTimersByTimeAsync(i === 5 ? 1 : 30_000);
      if (chat.state.name === 'connecting') newest('/ws/chat/').drop();
      if (push.state.name === 'connecting') newest('/push/').drop();
      await flushPromises();
    }
    expect([chat.state.name, push.state.name]).toEqual(['waiting', 'waiting']);
    return chat;
  }

  it('are woken when one of them opens', async () => {
    const chat = await bothWaiting();
    link?.retry();
    newest('/push/').accept();
    expect(chat.state.name).toBe('connecting');
    newest('/ws/chat/').accept();
    expect(chat.state.name).toBe('open');
  });

  it('are not woken by a link to another server, or of another tab', async () => {
    for (const [environment, host] of [[tab.environment, 'other.example'], [browser.tab().environment, undefined]] as const) {
      const chat = await bothWaiting(environment, host);
      link?.retry();
      newest('/push/').accept();
      expect(chat.state.name).toBe('waiting');
      link?.dispose();
    }
  });

  it('obey a server that is at its limit', async () => {
    const chat = await bothWaiting();
    browser.probeAnswer = { status: 503 };
    chat.retry();
    newest('/ws/chat/').drop();
    await flushPromises();
    expect(chat.state).toMatchObject({ name: 'waiting', cause: 'full' });
    link?.retry();
    newest('/push/').accept();
    expect(chat.state.name).toBe('waiting');
  });

  it('do not keep each other busy while the server closes every connection', async () => {
    const chat = await bothWaiting();
    link?.retry();
    const before = browser.sockets.length;
    for (let i = 0; i < 20; i += 1) {
      for (const [one, path] of [[link, '/push/'], [chat, '/ws/chat/']] as const) {
        if (one?.state.name !== 'connecting') continue;
        newest(path).accept();
        newest(path).drop();
      }
    }
    expect(browser.sockets.length - before).toBeLessThan(3);
    // After a stable connection, a link is woken again.
    chat.retry();
    newest('/ws/chat/').accept();
    await vi.advanceTimersByTimeAsync(defaultTuning.stableMs);
    newest('/ws/chat/').drop();
    expect(chat.state.name).toBe('waiting');
    link?.retry();
    newest('/push/').accept();
    expect(chat.state.name).toBe('connecting');
  });
});
