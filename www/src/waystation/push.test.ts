import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { openChat } from './chat';
import { connectPush, type Push, type PushEvent, type PushOptions } from './push';
import { NameError } from './names';
import { SendError } from './send_error';
import { FakeBrowser, FakeTab, type FakeSocket } from './testing/fake_browser';

let browser: FakeBrowser;
const pushes: Push[] = [];

beforeEach(() => {
  vi.useFakeTimers({ now: 1_700_000_000_000 });
  browser = new FakeBrowser();
});

afterEach(() => {
  for (const push of pushes.splice(0)) push.close();
  vi.useRealTimers();
});

const flushPromises = (): Promise<unknown> => vi.advanceTimersByTimeAsync(0);

async function connect(tab: FakeTab, options: PushOptions = {}): Promise<{ push: Push; heard: PushEvent[] }> {
  const push = connectPush('alice', { environment: tab.environment, ...options });
  pushes.push(push);
  const heard: PushEvent[] = [];
  push.on('event', (event) => heard.push(event));
  await flushPromises();
  return { push, heard };
}

const event = (message: unknown): unknown => ({ event: { message, group: 'alice_bob', from: 'bob', id: 'm1', at: 7 } });

describe('connectPush', () => {
  it('opens the route of the user', async () => {
    await connect(browser.tab());
    expect(browser.socket.url).toBe('ws://relay.example:8080/push/alice/');
  });

  it('rejects an invalid user id', () => {
    expect(() => connectPush('Alice', { environment: browser.tab().environment })).toThrow(NameError);
  });

  it('reports value, sender and group', async () => {
    const { heard } = await connect(browser.tab());
    browser.socket.accept();
    browser.socket.sendFrame(event({ any: 'json' }));
    expect(heard).toEqual([expect.objectContaining({ message: { any: 'json' }, group: 'alice_bob', from: 'bob', id: 'm1', at: 7 })]);
  });

  it('reports notifications of the host application without a sender', async () => {
    const { heard } = await connect(browser.tab());
    browser.socket.accept();
    browser.socket.sendFrame({ event: { message: 'disk full', group: null, from: null, id: null, at: 7 } });
    expect(heard[0]).toMatchObject({ message: 'disk full', group: null, from: null });
  });

  it('receives events of the plain protocol', async () => {
    const { heard } = await connect(browser.tab(), { protocol: 'plain' });
    browser.socket.accept();
    browser.socket.sendFrame({ event: { message: 'hi', group: 'alice_bob' } });
    expect(heard[0]).toMatchObject({ message: 'hi', group: 'alice_bob', from: null });
  });
});

describe('missed', () => {
  const answer = (user: string): unknown => ({ missed: { from: [{ user, count: 3, first: 5, last: 7 }], notifications: 2, complete: true, next: `after ${user}` } });
  const failure = (promise: Promise<unknown>): Promise<string> =>
    promise.then(
      () => 'answered',
      (error: unknown) => (error instanceof SendError ? `${error.code} ${error.outcome}` : String(error)),
    );

  it('asks who tried to reach the user', async () => {
    const { push } = await connect(browser.tab());
    browser.socket.accept();
    const first = push.missed({ since: 0 });
    browser.socket.sendFrame(answer('bob'));
    const missed = await first;
    expect(missed).toEqual({ from: [{ user: 'bob', count: 3, first: 5, last: 7 }], notifications: 2, complete: true, next: 'after bob' });
    void push.missed({ after: missed.next ?? '' }).catch(() => {});
    expect(browser.socket.frames).toEqual([{ missed: { since: 0 } }, { missed: { after: 'after bob' } }]);
  });

  it('ignores members of the wrong type', async () => {
    const { push } = await connect(browser.tab());
    browser.socket.accept();
    const asked = push.missed({ since: 0 });
    browser.socket.sendFrame({ missed: { from: [1, { user: 'bob' }, { user: 'bob', count: 1, first: 5, last: 'x' }], notifications: 'x', next: 1 } });
    expect(await asked).toEqual({ from: [], notifications: 0, complete: false, next: null });
  });

  it('asks one question at a time, in order, since an answer does not name its question', async () => {
    const { push, heard } = await connect(browser.tab());
    browser.socket.accept();
    const answers = [push.missed({ since: 1 }), push.missed({ since: 2 })];
    expect(browser.socket.frames).toEqual([{ missed: { since: 1 } }]);
    browser.socket.sendFrame(event('between'));
    browser.socket.sendFrame(answer('bob'));
    expect(browser.socket.frames).toEqual([{ missed: { since: 1 } }, { missed: { since: 2 } }]);
    browser.socket.sendFrame(answer('carol'));
    expect((await Promise.all(answers)).map(({ next }) => next)).toEqual(['after bob', 'after carol']);
    expect(heard).toHaveLength(1);
  });

  it('rejects with the error of the server, but not with that of a token', async () => {
    const { push } = await connect(browser.tab());
    const errors: string[] = [];
    push.on('error', ({ code }) => errors.push(code));
    browser.socket.accept();
    const asked = failure(push.missed({ since: 0 }));
    browser.socket.sendFrame({ error: { code: 'bad_token', detail: 'no' } });
    browser.socket.sendFrame({ error: { code: 'audit_off', detail: 'no' } });
    expect(await asked).toBe('audit_off refused');
    browser.socket.sendFrame({ error: { code: 'rate_limited', detail: 'no' } });
    expect(errors).toEqual(['bad_token', 'rate_limited']);
  });

  it('rejects without a connection, when it is lost, and without an answer', async () => {
    const { push } = await connect(browser.tab());
    expect(await failure(push.missed({ since: 0 }))).toBe('not_open not_sent');
    browser.socket.accept();
    const lost = [failure(push.missed({ since: 0 })), failure(push.missed({ since: 1 }))];
    browser.socket.drop();
    expect(await Promise.all(lost)).toEqual(['link_lost unknown', 'link_lost unknown']);
    await vi.advanceTimersByTimeAsync(1_000);
    browser.socket.accept();
    const unanswered = failure(push.missed({ since: 0 }));
    await vi.advanceTimersByTimeAsync(10_000);
    expect(await unanswered).toBe('no_answer unknown');
    // The connection may be dead.
    expect(browser.socket.frames.at(-1)).toMatchObject({ ping: 1 });
  });

  it('answers each tab its own question', async () => {
    const first = await connect(browser.tab());
    const second = await connect(browser.tab());
    browser.socket.accept();
    const one = first.push.missed({ since: 1 });
    const two = second.push.missed({ since: 2 });
    browser.socket.sendFrame(answer('bob'));
    browser.socket.sendFrame({ error: { code: 'audit_busy', detail: 'later' } });
    expect((await one).next).toBe('after bob');
    expect(await failure(two)).toBe('audit_busy refused');
    const again = second.push.missed({ since: 3 });
    browser.socket.sendFrame(answer('carol'));
    expect((await again).next).toBe('after carol');
    expect(browser.socket.frames).toEqual([{ missed: { since: 1 } }, { missed: { since: 2 } }, { missed: { since: 3 } }]);
  });

  it('rejects the questions of all tabs when the leader closes, and those of a closed tab', async () => {
    const first = await connect(browser.tab());
    const second = await connect(browser.tab());
    const third = await connect(browser.tab());
    browser.socket.accept();
    const two = failure(second.push.missed({ since: 2 }));
    const three = failure(third.push.missed({ since: 3 }));
    third.push.close();
    expect(await three).toBe('no_answer unknown');
    first.push.close();
    expect(await two).toBe('no_answer unknown');
    await flushPromises();
    expect(await failure(second.push.missed({ since: 2 }))).toBe('not_open not_sent');
  });

  it('rejects if the leader’s tab does not answer', async () => {
    await connect(browser.tab());
    const { push } = await connect(browser.tab());
    browser.socket.accept();
    browser.channelsWork = false;
    const asked = failure(push.missed({ since: 0 }));
    await vi.advanceTimersByTimeAsync(20_000);
    expect(await asked).toBe('no_answer unknown');
  });
});

describe('one socket for all tabs', () => {
  it('is opened by the first tab only', async () => {
    await connect(browser.tab());
    await connect(browser.tab());
    await connect(browser.tab());
    expect(browser.sockets).toHaveLength(1);
  });

  it('delivers each event to each tab once', async () => {
    const tabs = [await connect(browser.tab()), await connect(browser.tab()), await connect(browser.tab())];
    browser.socket.accept();
    browser.socket.sendFrame(event('hi'));
    for (const { heard, push } of tabs) {
      expect(heard.map(({ message }) => message)).toEqual(['hi']);
      expect(push.state.name).toBe('open');
    }
  });

  it('reports its state to a new tab', async () => {
    await connect(browser.tab());
    browser.socket.accept();
    const { push } = await connect(browser.tab());
    expect(push.state.name).toBe('open');
  });

  it('moves to the next tab when the leader closes', async () => {
    const first = await connect(browser.tab());
    const second = await connect(browser.tab());
    browser.socket.accept();
    const { socket } = browser;
    first.push.close();
    await flushPromises();
    expect(socket.clientClosed).toBe(1000);
    expect(browser.sockets).toHaveLength(2);
    expect(second.push.state.name).toBe('connecting');
    browser.socket.accept();
    browser.socket.sendFrame(event('hi'));
    expect(second.heard).toHaveLength(1);
    expect(first.heard).toHaveLength(0);
  });

  it('moves to the next tab when the user leaves the leader’s page', async () => {
    const leaving = browser.tab();
    await connect(leaving);
    const second = await connect(browser.tab());
    browser.socket.accept();
    leaving.fire('pagehide');
    await flushPromises();
    expect(browser.sockets).toHaveLength(2);
    expect(second.push.state.name).toBe('connecting');
  });

  it('stays when another tab closes', async () => {
    await connect(browser.tab());
    const second = await connect(browser.tab());
    const third = await connect(browser.tab());
    second.push.close();
    await flushPromises();
    expect(browser.sockets).toHaveLength(1);
    browser.socket.accept();
    expect(third.push.state.name).toBe('open');
  });

  it('opens again in a page that returns', async () => {
    const tab = browser.tab();
    const { push } = await connect(tab);
    browser.socket.accept();
    tab.fire('pagehide');
    await flushPromises();
    tab.fire('pageshow');
    await flushPromises();
    expect(browser.sockets).toHaveLength(2);
    browser.socket.accept();
    expect(push.state.name).toBe('open');
  });

  it('connects at once under the next leader after a refusal without Retry-After', async () => {
    browser.probeAnswer = { status: 502 };
    const { push: first } = await connect(browser.tab());
    const { push: second } = await connect(browser.tab());
    for (let attempts = 0; attempts < 8; attempts += 1) {
      browser.socket.drop();
      await flushPromises();
      await vi.advanceTimersToNextTimerAsync();
    }
    browser.socket.drop();
    await flushPromises();
    expect(second.state).toMatchObject({ name: 'waiting', cause: 'full' });
    const before = browser.sockets.length;
    first.close();
    await flushPromises();
    expect(browser.sockets).toHaveLength(before + 1);
  });

  describe('of a server that sent Retry-After', () => {
    /** Two tabs wait for 60 s. */
    async function refused(): Promise<{ tab: FakeTab; first: Push; second: Push }> {
      browser.probeAnswer = { status: 503, headers: { 'Retry-After': '60' } };
      const tab = browser.tab();
      const { push: first } = await connect(tab);
      const { push: second } = await connect(browser.tab());
      browser.socket.drop();
      await flushPromises();
      expect(second.state).toMatchObject({ name: 'waiting', cause: 'full' });
      return { tab, first, second };
    }

    it('waits under the next leader too, and in a page that returns', async () => {
      const { tab, first, second } = await refused();
      // Only a token of the application that comes now would end the wait.
      second.setToken('new.new.new');
      browser.socket.drop();
      await flushPromises();
      const before = browser.sockets.length;
      tab.fire('pagehide');
      await flushPromises();
      second.close();
      tab.fire('pageshow');
      await vi.advanceTimersByTimeAsync(59_000);
      expect(browser.sockets).toHaveLength(before);
      await vi.advanceTimersByTimeAsync(10_000);
      expect(browser.sockets).toHaveLength(before + 1);
      browser.socket.accept();
      expect(first.state.name).toBe('open');
    });

    it('connects at once under the next leader if it was open since', async () => {
      const { first, second } = await refused();
      second.retry();
      browser.socket.accept();
      const before = browser.sockets.length;
      first.close();
      await flushPromises();
      expect(browser.sockets).toHaveLength(before + 1);
    });
  });

  it('is retried from any tab', async () => {
    await connect(browser.tab());
    const { push } = await connect(browser.tab());
    browser.socket.accept();
    browser.socket.drop(1006);
    expect(push.state.name).toBe('waiting');
    push.retry();
    expect(browser.sockets).toHaveLength(2);
  });

  it('uses a token that any tab received', async () => {
    await connect(browser.tab(), { token: 'old.old.old' });
    const { push } = await connect(browser.tab(), { token: 'old.old.old' });
    browser.socket.accept();
    push.setToken('new.new.new');
    expect(browser.socket.frames).toEqual([{ token: 'new.new.new' }]);
  });

  it('uses a token of another tab if the leader has none', async () => {
    const { push } = await connect(browser.tab(), { token: 'old.old.old' });
    browser.socket.accept();
    await connect(browser.tab(), { token: () => 'new.new.new' });
    browser.socket.drop(4401);
    await flushPromises();
    expect(browser.socket.protocols).toContain('bearer.new.new.new');
    browser.socket.accept();
    expect(push.state.name).toBe('open');
  });

  it('does not repeat a rejected token', async () => {
    browser.probeAnswer = { status: 401, body: { error: { code: 'unauthenticated', detail: 'no' } } };
    const { push } = await connect(browser.tab(), { token: 'bad.one.x' });
    await connect(browser.tab(), { token: 'bad.two.x' });
    await connect(browser.tab(), { token: 'bad.one.x' });
    for (let i = 0; i < 20; i += 1) {
      if (browser.socket.readyState === 0) browser.socket.drop();
      await flushPromises();
    }
    expect(push.state.name).toBe('closed');
    expect(browser.sockets.length).toBeLessThanOrEqual(4);
  });

  it('stays closed in all tabs after an administrator ended the session', async () => {
    const { push } = await connect(browser.tab(), { token: 'one.one.one' });
    const other = await connect(browser.tab(), { token: 'two.two.two' });
    browser.socket.accept();
    browser.socket.drop(4403);
    await flushPromises();
    expect(other.push.state).toMatchObject({ name: 'closed', reason: { cause: 'ended' } });
    // Nor by a new tab, nor by the next leader.
    await connect(browser.tab(), { token: 'three.three.three' });
    push.close();
    await flushPromises();
    expect(other.push.state).toMatchObject({ name: 'closed', reason: { cause: 'ended' } });
    expect(browser.sockets).toHaveLength(1);
    other.push.retry();
    expect(browser.sockets).toHaveLength(2);
  });

  it('asks no tab for a token after a final refusal', async () => {
    browser.probeAnswer = { status: 400, body: { error: { code: 'bad_user', detail: 'no' } } };
    await connect(browser.tab(), { token: 'one.one.one' });
    await connect(browser.tab(), { token: 'two.two.two' });
    browser.socket.drop();
    await flushPromises();
    expect(browser.sockets).toHaveLength(1);
  });

  it('is offered one token per tab', async () => {
    browser.probeAnswer = { status: 401, body: { error: { code: 'unauthenticated', detail: 'no' } } };
    let minted = 0;
    const { push } = await connect(browser.tab(), { token: 'bad.one.x' });
    await connect(browser.tab(), { token: () => `new.token.${(minted += 1)}` });
    for (let i = 0; i < 20; i += 1) {
      if (browser.socket.readyState === 0) browser.socket.drop();
      await flushPromises();
    }
    expect(push.state).toMatchObject({ name: 'closed', reason: { cause: 'refused' } });
    expect(minted).toBe(1);
    expect(browser.sockets.length).toBeLessThanOrEqual(3);
  });

  it('is offered a token again after a stable connection', async () => {
    let minted = 0;
    await connect(browser.tab(), { token: 'old.old.old' });
    await connect(browser.tab(), { token: () => `new.token.${(minted += 1)}` });
    for (const expected of [1, 2]) {
      browser.socket.accept();
      await vi.advanceTimersByTimeAsync(10_000);
      browser.socket.drop(4401);
      await flushPromises();
      if (browser.socket.protocols.includes('bearer.old.old.old')) {
        // The same token again.
        browser.socket.accept();
        browser.socket.drop(4401);
        await flushPromises();
      }
      expect(minted).toBe(expected);
    }
  });

  it('is separate for each user', async () => {
    await connect(browser.tab());
    const bob = connectPush('bob', { environment: browser.tab().environment });
    pushes.push(bob);
    await flushPromises();
    expect(browser.sockets.map((socket) => new URL(socket.url).pathname)).toEqual(['/push/alice/', '/push/bob/']);
  });

  it('delivers nothing to a closed tab', async () => {
    await connect(browser.tab());
    const second = await connect(browser.tab());
    browser.socket.accept();
    second.push.close();
    browser.socket.sendFrame(event('late'));
    expect(second.heard).toEqual([]);
  });

  it('does not open in a tab that closed while it waited', async () => {
    const tab = browser.tab();
    connectPush('alice', { environment: tab.environment }).close();
    await flushPromises();
    expect(browser.sockets).toHaveLength(0);
  });
});

describe('without sharing', () => {
  it('opens one socket per tab', async () => {
    await connect(new FakeTab(browser, false));
    await connect(new FakeTab(browser, false));
    expect(browser.sockets).toHaveLength(2);
  });

  it('opens one socket per tab if the browser refuses locks', async () => {
    browser.givesLocks = false;
    const one = await connect(browser.tab());
    browser.socket.accept();
    const two = await connect(browser.tab());
    browser.socket.accept();
    expect([one.push.state.name, two.push.state.name]).toEqual(['open', 'open']);
    browser.socket.sendFrame(event('hi'));
    expect([one.heard.length, two.heard.length]).toEqual([0, 1]);
    expect(browser.sockets).toHaveLength(2);
  });

  it('rejects a token in the plain protocol at once', () => {
    expect(() => connectPush('alice', { protocol: 'plain', token: 'a.b.c', environment: browser.tab().environment })).toThrow(/cookie/);
  });

  it('opens one socket per tab on request', async () => {
    await connect(browser.tab(), { shared: false });
    await connect(browser.tab(), { shared: false });
    expect(browser.sockets).toHaveLength(2);
  });
});

describe('a shared push socket and the chats of the tabs', () => {
  const newest = (path: string): FakeSocket => browser.sockets.filter(({ url }) => url.includes(path)).pop()!;

  it('wake each other in all tabs', async () => {
    const [first, second] = [browser.tab(), browser.tab()];
    const leader = await connect(first);
    const follower = await connect(second);
    newest('/push/').accept();
    const chat = openChat('alice_bob', { user: 'alice', environment: second.environment });
    newest('/ws/chat/').accept();
    browser.probeAnswer = 'unreachable';

    // The chat of the second tab wakes the push socket of the first one.
    newest('/push/').drop();
    newest('/ws/chat/').drop();
    await vi.advanceTimersByTimeAsync(30_000);
    newest('/push/').drop();
    newest('/ws/chat/').drop();
    await flushPromises();
    expect([leader.push.state.name, follower.push.state.name, chat.state.name]).toEqual(['waiting', 'waiting', 'waiting']);
    chat.retry();
    newest('/ws/chat/').accept();
    expect(leader.push.state.name).toBe('connecting');
    newest('/push/').accept();
    await vi.advanceTimersByTimeAsync(10_000);

    // The push socket of the first tab wakes the chat of the second one.
    newest('/push/').drop();
    newest('/ws/chat/').drop();
    await flushPromises();
    expect(chat.state.name).toBe('waiting');
    leader.push.retry();
    newest('/push/').accept();
    expect(chat.state.name).toBe('connecting');
    chat.close();
  });
});
