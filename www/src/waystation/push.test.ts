import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { connectPush, type Push, type PushEvent, type PushOptions } from './push';
import { NameError } from './names';
import { ScriptedBrowser, ScriptedTab } from './testing/scripted';

let browser: ScriptedBrowser;
const pushes: Push[] = [];

beforeEach(() => {
  vi.useFakeTimers({ now: 1_700_000_000_000 });
  browser = new ScriptedBrowser();
});

afterEach(() => {
  for (const push of pushes.splice(0)) push.close();
  vi.useRealTimers();
});

const settle = (): Promise<unknown> => vi.advanceTimersByTimeAsync(0);

async function connect(tab: ScriptedTab, options: PushOptions = {}): Promise<{ push: Push; heard: PushEvent[] }> {
  const push = connectPush('alice', { environment: tab.environment, ...options });
  pushes.push(push);
  const heard: PushEvent[] = [];
  push.on('event', (event) => heard.push(event));
  await settle();
  return { push, heard };
}

const event = (message: unknown): unknown => ({ event: { message, group: 'alice_bob', from: 'bob', id: 'm1', at: 7 } });

describe('connectPush', () => {
  it('opens the user’s route', async () => {
    await connect(browser.tab());
    expect(browser.socket.url).toBe('ws://relay.example:8080/push/alice/');
  });

  it('refuses what is no user id', () => {
    expect(() => connectPush('Alice', { environment: browser.tab().environment })).toThrow(NameError);
  });

  it('tells what arrived, from whom and where', async () => {
    const { heard } = await connect(browser.tab());
    browser.socket.accept();
    browser.socket.say(event({ any: 'json' }));
    expect(heard).toEqual([expect.objectContaining({ message: { any: 'json' }, group: 'alice_bob', from: 'bob', id: 'm1', at: 7 })]);
  });

  it('tells the appliance’s own notifications by their missing sender', async () => {
    const { heard } = await connect(browser.tab());
    browser.socket.accept();
    browser.socket.say({ event: { message: 'disk full', group: null, from: null, id: null, at: 7 } });
    expect(heard[0]).toMatchObject({ message: 'disk full', group: null, from: null });
  });

  it('hears the plain dialect too', async () => {
    const { heard } = await connect(browser.tab(), { dialect: 'plain' });
    browser.socket.accept();
    browser.socket.say({ event: { message: 'hi', group: 'alice_bob' } });
    expect(heard[0]).toMatchObject({ message: 'hi', group: 'alice_bob', from: null });
  });
});

describe('one socket for all tabs', () => {
  it('is opened by the first tab only', async () => {
    await connect(browser.tab());
    await connect(browser.tab());
    await connect(browser.tab());
    expect(browser.sockets).toHaveLength(1);
  });

  it('brings each event to each tab, once', async () => {
    const tabs = [await connect(browser.tab()), await connect(browser.tab()), await connect(browser.tab())];
    browser.socket.accept();
    browser.socket.say(event('hi'));
    for (const { heard, push } of tabs) {
      expect(heard.map(({ message }) => message)).toEqual(['hi']);
      expect(push.state.name).toBe('open');
    }
  });

  it('tells a new tab how things stand', async () => {
    await connect(browser.tab());
    browser.socket.accept();
    const { push } = await connect(browser.tab());
    expect(push.state.name).toBe('open');
  });

  it('goes to the next tab when the one that has it is closed', async () => {
    const first = await connect(browser.tab());
    const second = await connect(browser.tab());
    browser.socket.accept();
    const { socket } = browser;
    first.push.close();
    await settle();
    expect(socket.clientClosed).toBe(1000);
    expect(browser.sockets).toHaveLength(2);
    expect(second.push.state.name).toBe('connecting');
    browser.socket.accept();
    browser.socket.say(event('hi'));
    expect(second.heard).toHaveLength(1);
    expect(first.heard).toHaveLength(0);
  });

  it('goes to the next tab when the page that has it is left', async () => {
    const leaving = browser.tab();
    await connect(leaving);
    const second = await connect(browser.tab());
    browser.socket.accept();
    leaving.fire('pagehide');
    await settle();
    expect(browser.sockets).toHaveLength(2);
    expect(second.push.state.name).toBe('connecting');
  });

  it('stays where it is when another tab is closed', async () => {
    await connect(browser.tab());
    const second = await connect(browser.tab());
    const third = await connect(browser.tab());
    second.push.close();
    await settle();
    expect(browser.sockets).toHaveLength(1);
    browser.socket.accept();
    expect(third.push.state.name).toBe('open');
  });

  it('is had again by a page that comes back', async () => {
    const tab = browser.tab();
    const { push } = await connect(tab);
    browser.socket.accept();
    tab.fire('pagehide');
    await settle();
    tab.fire('pageshow');
    await settle();
    expect(browser.sockets).toHaveLength(2);
    browser.socket.accept();
    expect(push.state.name).toBe('open');
  });

  it('is tried again from any tab', async () => {
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

  it('goes on with another tab’s token when the first has no good one', async () => {
    const { push } = await connect(browser.tab(), { token: 'old.old.old' });
    browser.socket.accept();
    await connect(browser.tab(), { token: () => 'new.new.new' });
    browser.socket.drop(4401);
    await settle();
    expect(browser.socket.protocols).toContain('bearer.new.new.new');
    browser.socket.accept();
    expect(push.state.name).toBe('open');
  });

  it('does not offer the server the same bad token again and again', async () => {
    browser.answer = { status: 401, body: { error: { code: 'unauthenticated', detail: 'no' } } };
    const { push } = await connect(browser.tab(), { token: 'bad.one.x' });
    await connect(browser.tab(), { token: 'bad.two.x' });
    await connect(browser.tab(), { token: 'bad.one.x' });
    for (let i = 0; i < 20; i += 1) {
      if (browser.socket.readyState === 0) browser.socket.drop();
      await settle();
    }
    expect(push.state.name).toBe('closed');
    expect(browser.sockets.length).toBeLessThanOrEqual(4);
  });

  it('is not revived by another tab once an administrator ended it', async () => {
    const { push } = await connect(browser.tab(), { token: 'one.one.one' });
    const other = await connect(browser.tab(), { token: 'two.two.two' });
    browser.socket.accept();
    browser.socket.drop(4403);
    await settle();
    expect(other.push.state).toMatchObject({ name: 'closed', reason: { cause: 'ended' } });
    // Nor by a new one, nor by the one that comes next.
    await connect(browser.tab(), { token: 'three.three.three' });
    push.close();
    await settle();
    expect(other.push.state).toMatchObject({ name: 'closed', reason: { cause: 'ended' } });
    expect(browser.sockets).toHaveLength(1);
    other.push.retry();
    expect(browser.sockets).toHaveLength(2);
  });

  it('asks no other tab for a token after a refusal that none would change', async () => {
    browser.answer = { status: 400, body: { error: { code: 'bad_user', detail: 'no' } } };
    await connect(browser.tab(), { token: 'one.one.one' });
    await connect(browser.tab(), { token: 'two.two.two' });
    browser.socket.drop();
    await settle();
    expect(browser.sockets).toHaveLength(1);
  });

  it('is offered one token of another tab, however many that tab makes', async () => {
    browser.answer = { status: 401, body: { error: { code: 'unauthenticated', detail: 'no' } } };
    let minted = 0;
    const { push } = await connect(browser.tab(), { token: 'bad.one.x' });
    await connect(browser.tab(), { token: () => `new.token.${(minted += 1)}` });
    for (let i = 0; i < 20; i += 1) {
      if (browser.socket.readyState === 0) browser.socket.drop();
      await settle();
    }
    expect(push.state).toMatchObject({ name: 'closed', reason: { cause: 'refused' } });
    expect(minted).toBe(1);
    expect(browser.sockets.length).toBeLessThanOrEqual(3);
  });

  it('is helped again once the link has held', async () => {
    let minted = 0;
    await connect(browser.tab(), { token: 'old.old.old' });
    await connect(browser.tab(), { token: () => `new.token.${(minted += 1)}` });
    for (const expected of [1, 2]) {
      browser.socket.accept();
      await vi.advanceTimersByTimeAsync(10_000);
      browser.socket.drop(4401);
      await settle();
      if (browser.socket.protocols.includes('bearer.old.old.old')) {
        // Its own token once more, which is as old as before.
        browser.socket.accept();
        browser.socket.drop(4401);
        await settle();
      }
      expect(minted).toBe(expected);
    }
  });

  it('is each user’s own', async () => {
    await connect(browser.tab());
    const bob = connectPush('bob', { environment: browser.tab().environment });
    pushes.push(bob);
    await settle();
    expect(browser.sockets.map((socket) => new URL(socket.url).pathname)).toEqual(['/push/alice/', '/push/bob/']);
  });

  it('brings a closed tab nothing more', async () => {
    await connect(browser.tab());
    const second = await connect(browser.tab());
    browser.socket.accept();
    second.push.close();
    browser.socket.say(event('late'));
    expect(second.heard).toEqual([]);
  });

  it('does not open where the tab was closed before its turn', async () => {
    const tab = browser.tab();
    connectPush('alice', { environment: tab.environment }).close();
    await settle();
    expect(browser.sockets).toHaveLength(0);
  });
});

describe('without a way to share', () => {
  it('has one socket a tab', async () => {
    await connect(new ScriptedTab(browser, false));
    await connect(new ScriptedTab(browser, false));
    expect(browser.sockets).toHaveLength(2);
  });

  it('has one socket a tab where the browser has locks and gives none', async () => {
    browser.givesLocks = false;
    const one = await connect(browser.tab());
    browser.socket.accept();
    const two = await connect(browser.tab());
    browser.socket.accept();
    expect([one.push.state.name, two.push.state.name]).toEqual(['open', 'open']);
    browser.socket.say(event('hi'));
    expect([one.heard.length, two.heard.length]).toEqual([0, 1]);
    expect(browser.sockets).toHaveLength(2);
  });

  it('refuses a token in the plain dialect at once', () => {
    expect(() => connectPush('alice', { dialect: 'plain', token: 'a.b.c', environment: browser.tab().environment })).toThrow(/cookie/);
  });

  it('has one socket a tab where the caller wants it so', async () => {
    await connect(browser.tab(), { shared: false });
    await connect(browser.tab(), { shared: false });
    expect(browser.sockets).toHaveLength(2);
  });
});
