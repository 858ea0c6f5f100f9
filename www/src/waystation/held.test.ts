import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { openChat, type Ack, type Chat, type ChatOptions } from './chat';
import { SendError } from './send_error';
import { FakeBrowser, type FakeSocket, type FakeTab } from './testing/fake_browser';

let browser: FakeBrowser;
let tab: FakeTab;
const chats: Chat[] = [];

beforeEach(() => {
  vi.useFakeTimers({ now: 1_700_000_000_000 });
  browser = new FakeBrowser();
  browser.random = 0;
  tab = browser.tab();
});

afterEach(() => {
  for (const chat of chats.splice(0)) chat.close();
  vi.useRealTimers();
});

function open(options: Partial<ChatOptions> = {}, group = 'alice_bob', within = tab): Chat {
  const chat = openChat(group, { user: 'alice', environment: within.environment, ...options });
  chats.push(chat);
  return chat;
}

function opened(options: Partial<ChatOptions> = {}, group = 'alice_bob', within = tab): { chat: Chat; socket: FakeSocket } {
  const chat = open(options, group, within);
  browser.socket.accept();
  return { chat, socket: browser.socket };
}

const presence = (socket: FakeSocket, reachable: boolean | undefined, present = false, user = 'bob'): void =>
  socket.sendFrame({ presence: { user, present, ...(reachable === undefined ? {} : { reachable }) } });
const ack = (socket: FakeSocket, id: string, route: string): void =>
  socket.sendFrame({ ack: { id, route, reached: route === 'none' ? 0 : 1, at: 5 } });
const error = (socket: FakeSocket, id: string, code: string): void => socket.sendFrame({ error: { code, detail: 'no', id } });
const ids = (socket: FakeSocket): unknown[] => socket.frames.filter((frame) => 'message' in frame).map(({ id }) => id);

const outcome = (promise: Promise<Ack>): Promise<string> =>
  promise.then(
    ({ route }) => route,
    (reason: unknown) => (reason instanceof SendError ? `${reason.code} ${reason.outcome}` : String(reason)),
  );

/** A chat with messages that reached nobody. */
function holding(...messages: string[]): { chat: Chat; socket: FakeSocket; results: Promise<string>[] } {
  const { chat, socket } = opened();
  presence(socket, false);
  const results = messages.map((id) => outcome(chat.send(`text of ${id}`, { id, hold: true })));
  ack(socket, messages[0] ?? '', 'none');
  return { chat, socket, results };
}

describe('a message with hold', () => {
  it('that reaches a user is not held', async () => {
    const { chat, socket } = opened();
    const held: unknown[] = [];
    chat.on('held', (one) => held.push(one));
    const sent = outcome(chat.send('hello', { id: 'm1', hold: true }));
    ack(socket, 'm1', 'push');
    expect(await sent).toBe('push');
    expect(held).toEqual([]);
  });

  it('is sent again with the same id when the receiver becomes reachable', async () => {
    const { chat, socket, results } = holding('m1');
    expect(chat.held).toEqual(['m1']);
    presence(socket, true);
    expect(socket.frames).toEqual([
      { message: 'text of m1', to_user: 'bob', id: 'm1' },
      { message: 'text of m1', to_user: 'bob', id: 'm1' },
    ]);
    // Until it is acknowledged.
    expect(chat.held).toEqual(['m1']);
    ack(socket, 'm1', 'push');
    expect(await results[0]).toBe('push');
    expect(chat.held).toEqual([]);
  });

  it('reports each change of the held messages', () => {
    const { chat, socket } = opened();
    const held: unknown[] = [];
    chat.on('held', (one) => held.push(one));
    void chat.send(1, { id: 'm1', hold: true });
    void chat.send(2, { id: 'm2', hold: true });
    ack(socket, 'm1', 'none');
    presence(socket, true);
    ack(socket, 'm1', 'chat');
    ack(socket, 'm2', 'chat');
    expect(held).toEqual([['m2'], ['m1', 'm2'], ['m2'], []]);
  });

  it('needs acknowledgements', () => {
    const { chat } = opened({ protocol: 'plain' });
    expect(() => chat.send(1, { hold: true })).toThrow(/plain protocol/);
  });

  it('keeps its id', () => {
    const { chat } = holding('m1', 'm2');
    expect(() => chat.send(1, 'm1')).toThrow(/in use/);
    expect(() => chat.send(1, { id: 'm2', hold: true })).toThrow(/in use/);
  });

  it('without a connection waits for it, without a deadline, after earlier messages', async () => {
    const chat = open({ queueDeadlineMs: 60_000 });
    void chat.send(1, 'm1');
    void chat.send(2, { id: 'm2', hold: true });
    void chat.send(3, 'm3');
    expect([chat.queued, chat.held]).toEqual([1, ['m2', 'm3']]);
    browser.socket.accept();
    expect(ids(browser.socket)).toEqual(['m1', 'm2']);
    browser.socket.drop();
    await vi.advanceTimersByTimeAsync(120_000);
    browser.socket.accept();
    presence(browser.socket, true);
    expect(ids(browser.socket)).toEqual(['m3']);
  });
});

describe('the order', () => {
  it('stays: one message is unacknowledged at a time', () => {
    const { socket } = holding('m1', 'm2', 'm3');
    expect(ids(socket)).toEqual(['m1']);
    presence(socket, true);
    expect(ids(socket)).toEqual(['m1', 'm1']);
    ack(socket, 'm1', 'push');
    expect(ids(socket)).toEqual(['m1', 'm1', 'm2']);
    // Gone again.
    ack(socket, 'm2', 'none');
    presence(socket, false);
    expect(ids(socket)).toEqual(['m1', 'm1', 'm2']);
    presence(socket, true);
    ack(socket, 'm2', 'chat');
    expect(ids(socket).slice(3)).toEqual(['m2', 'm3']);
  });

  it('stays for messages without hold, which are sent once', async () => {
    const { chat, socket } = holding('m1');
    const plain = outcome(chat.send('later', 'm2'));
    expect(chat.held).toEqual(['m1', 'm2']);
    presence(socket, true);
    ack(socket, 'm1', 'push');
    ack(socket, 'm2', 'none');
    expect(await plain).toBe('none');
    expect(chat.held).toEqual([]);
  });

  it('is that of each conversation', () => {
    holding('m1');
    const { socket } = opened({}, 'alice_carol');
    void chats[1]?.send(1, { id: 'c1', hold: true });
    expect(ids(socket)).toEqual(['c1']);
  });
});

describe('a receiver who comes and goes', () => {
  it('is not sent messages while the server reports no change', async () => {
    const { socket } = holding('m1');
    await vi.advanceTimersByTimeAsync(3_600_000);
    expect(ids(socket)).toEqual(['m1']);
  });

  it('and leaves before the message arrives, gets it after the next return', async () => {
    const { socket } = holding('m1');
    presence(socket, true);
    ack(socket, 'm1', 'none');
    presence(socket, false);
    await vi.advanceTimersByTimeAsync(60_000);
    expect(ids(socket)).toEqual(['m1', 'm1']);
    presence(socket, true);
    expect(ids(socket)).toHaveLength(3);
  });

  // The server reports an absence only after two seconds.
  it('and returns so fast that the server reports no change, gets it all the same', async () => {
    const { socket, results } = holding('m1');
    presence(socket, true);
    ack(socket, 'm1', 'none');
    await vi.advanceTimersByTimeAsync(2_999);
    expect(ids(socket)).toHaveLength(2);
    await vi.advanceTimersByTimeAsync(1);
    expect(ids(socket)).toHaveLength(3);
    ack(socket, 'm1', 'push');
    expect(await results[0]).toBe('push');
  });

  it('and never takes a message although reported as reachable, is tried less and less often', async () => {
    browser.random = 1;
    const { socket } = holding('m1');
    presence(socket, true);
    for (const delay of [4_000, 5_000, 7_000, 11_000, 19_000, 35_000, 63_000, 63_000]) {
      const before = ids(socket).length;
      ack(socket, 'm1', 'none');
      await vi.advanceTimersByTimeAsync(delay - 1);
      expect(ids(socket)).toHaveLength(before);
      await vi.advanceTimersByTimeAsync(1);
      expect(ids(socket)).toHaveLength(before + 1);
    }
  });

  it('counts by presence if the server does not say who is reachable', () => {
    const { chat, socket } = opened();
    presence(socket, undefined, false);
    void chat.send(1, { id: 'm1', hold: true });
    ack(socket, 'm1', 'none');
    expect(chat.reachable).toBe(undefined);
    presence(socket, undefined, true);
    expect(ids(socket)).toEqual(['m1', 'm1']);
  });

  it('gets messages whose sender lost the connection meanwhile', async () => {
    const { chat, socket } = holding('m1', 'm2');
    presence(socket, true);
    ack(socket, 'm1', 'none');
    socket.drop();
    await vi.advanceTimersByTimeAsync(60_000);
    expect([chat.reachable, chat.held]).toEqual([undefined, ['m1', 'm2']]);
    browser.socket.accept();
    expect(ids(browser.socket)).toEqual([]);
    presence(browser.socket, true);
    expect(ids(browser.socket)).toEqual(['m1']);
  });
});

describe('messages behind a held one, after a lost connection', () => {
  /** The connection is back. The first message may have arrived; the second one, without hold, was not sent. */
  async function returned(): Promise<{ chat: Chat; second: Promise<string> }> {
    const { chat, socket } = opened();
    presence(socket, true);
    void chat.send(1, { id: 'm1', hold: true });
    const second = outcome(chat.send(2, { id: 'm2' }));
    socket.drop(1001);
    await vi.advanceTimersByTimeAsync(0);
    browser.socket.accept();
    presence(browser.socket, false);
    return { chat, second };
  }

  it('wait until the receiver is reachable', async () => {
    const { chat, second } = await returned();
    void chat.send(3, { id: 'm3' });
    await vi.advanceTimersByTimeAsync(1_000);
    expect(ids(browser.socket)).toEqual([]);
    presence(browser.socket, true);
    ack(browser.socket, 'm2', 'push');
    expect(await second).toBe('push');
    expect(ids(browser.socket)).toEqual(['m2', 'm3']);
  });

  it('are sent after three seconds to a receiver who is not reachable', async () => {
    const { second } = await returned();
    await vi.advanceTimersByTimeAsync(2_999);
    expect(ids(browser.socket)).toEqual([]);
    await vi.advanceTimersByTimeAsync(1);
    expect(ids(browser.socket)).toEqual(['m2']);
    ack(browser.socket, 'm2', 'none');
    expect(await second).toBe('none');
  });
});

describe('a held message and failures', () => {
  it('survives the expiry of the token', async () => {
    const { chat, socket } = opened({ token: 'old.old.old' });
    presence(socket, false);
    const sent = outcome(chat.send(1, { id: 'm1', hold: true }));
    ack(socket, 'm1', 'none');
    socket.drop(4401);
    await vi.advanceTimersByTimeAsync(600_000);
    expect([chat.state.name, chat.held]).toEqual(['closed', ['m1']]);
    chat.setToken('new.new.new');
    browser.socket.accept();
    presence(browser.socket, true);
    ack(browser.socket, 'm1', 'chat');
    expect(await sent).toBe('chat');
  });

  it('is not sent again if it may have arrived, and the next one is', async () => {
    const { chat, socket, results } = holding('m1', 'm2');
    presence(socket, true);
    socket.drop();
    expect(await results[0]).toBe('link_lost unknown');
    expect(chat.held).toEqual(['m2']);
    await vi.advanceTimersByTimeAsync(1_000);
    browser.socket.accept();
    presence(browser.socket, true);
    expect(ids(browser.socket)).toEqual(['m2']);
  });

  it('is not sent again after an acknowledgement that never came', async () => {
    const { socket, results } = holding('m1', 'm2');
    presence(socket, true);
    await vi.advanceTimersByTimeAsync(10_000);
    expect(await results[0]).toBe('no_ack unknown');
    expect(ids(socket)).toEqual(['m1', 'm1', 'm2']);
  });

  it.each(['rate_limited', 'unavailable'])('is sent again later after the error %s', async (code) => {
    const { chat, socket } = opened();
    void chat.send(1, { id: 'm1', hold: true });
    error(socket, 'm1', code);
    expect(chat.held).toEqual(['m1']);
    await vi.advanceTimersByTimeAsync(3_000);
    expect(ids(socket)).toEqual(['m1', 'm1']);
  });

  it('is rejected for another error, and the next one is sent', async () => {
    const { socket, results } = holding('m1', 'm2');
    presence(socket, true);
    error(socket, 'm1', 'bad_receiver');
    expect(await results[0]).toBe('bad_receiver refused');
    expect(ids(socket)).toEqual(['m1', 'm1', 'm2']);
  });

  it('is not sent again if the server does not know whether it arrived', async () => {
    const { socket, results } = holding('m1');
    presence(socket, true);
    error(socket, 'm1', 'undecided');
    expect(await results[0]).toBe('undecided unknown');
  });

  it('is rejected when the chat is closed', async () => {
    const { chat, socket, results } = holding('m1', 'm2');
    presence(socket, true);
    ack(socket, 'm1', 'none');
    chat.close();
    expect(await Promise.all(results)).toEqual(['closed not_sent', 'closed not_sent']);
    expect(vi.getTimerCount()).toBe(0);
  });
});

describe('cancel', () => {
  it('removes a held message, and sends the next one', async () => {
    const { chat, socket, results } = holding('m1', 'm2', 'm3');
    expect(chat.cancel('m2')).toBe(true);
    expect(chat.cancel('m1')).toBe(true);
    expect(await Promise.all(results.slice(0, 2))).toEqual(['canceled not_sent', 'canceled not_sent']);
    expect(ids(socket)).toEqual(['m1', 'm3']);
    ack(socket, 'm3', 'none');
    expect(chat.held).toEqual(['m3']);
  });

  it('lets a message arrive that is under way, and sends it no more', async () => {
    const { chat, socket, results } = holding('m1');
    presence(socket, true);
    expect(chat.cancel('m1')).toBe(false);
    ack(socket, 'm1', 'none');
    expect(await results[0]).toBe('none');
    presence(socket, true);
    expect(ids(socket)).toEqual(['m1', 'm1']);
  });

  it('removes a message of the offline queue', async () => {
    const chat = open();
    const sent = outcome(chat.send(1, 'm1'));
    expect(chat.cancel('m1')).toBe(true);
    expect(await sent).toBe('canceled not_sent');
    browser.socket.accept();
    expect(ids(browser.socket)).toEqual([]);
    expect(chat.queued).toBe(0);
  });

  it('has no effect on other ids', () => {
    const { chat } = holding('m1');
    expect(chat.cancel('m2')).toBe(false);
  });

  it('stops the next attempt', async () => {
    const { chat, socket } = holding('m1');
    presence(socket, true);
    ack(socket, 'm1', 'none');
    chat.cancel('m1');
    await vi.advanceTimersByTimeAsync(60_000);
    expect(ids(socket)).toEqual(['m1', 'm1']);
  });
});

describe('the limits of a tab', () => {
  it('are 100 messages of all chats together', async () => {
    const { chat } = holding('m1');
    const other = opened({}, 'alice_carol').chat;
    for (let n = 1; n < 100; n += 1) void (n % 2 === 0 ? chat : other).send(n, { hold: true });
    expect(await outcome(chat.send(1, { hold: true }))).toBe('hold_full not_sent');
    // A message behind held ones waits as well.
    expect(await outcome(other.send(1))).toBe('hold_full not_sent');
    // Another tab has its own.
    const elsewhere = opened({}, 'alice_bob', browser.tab()).chat;
    void elsewhere.send(1, { hold: true });
    expect(ids(browser.socket)).toHaveLength(1);

    chat.cancel('m1');
    void chat.send(1, { id: 'x1', hold: true });
    expect(chat.held).toContain('x1');
    expect(await outcome(chat.send(1, { hold: true }))).toBe('hold_full not_sent');
    const released = other.held.length;
    other.close();
    for (let n = 0; n < released; n += 1) void chat.send(n, { id: `y${n}`, hold: true });
    expect(chat.held).toContain(`y${released - 1}`);
  });

  it('are 1 MiB', async () => {
    const { chat, socket } = opened({ maxMessageBytes: 1024 * 1024 });
    presence(socket, false);
    const envelope = JSON.stringify({ message: '', to_user: 'bob', id: 'm1' }).length;
    void chat.send('x'.repeat(1024 * 1024 - envelope - 100), { id: 'm1', hold: true });
    ack(socket, 'm1', 'none');
    expect(await outcome(chat.send('y'.repeat(101), { hold: true }))).toBe('hold_full not_sent');
    void chat.send('y', { id: 'm2', hold: true });
    expect(chat.held).toEqual(['m1', 'm2']);
    presence(socket, true);
    ack(socket, 'm1', 'chat');
    ack(socket, 'm2', 'chat');
    void chat.send('z'.repeat(1024 * 1024 - envelope), { id: 'm3', hold: true });
    expect(ids(socket).at(-1)).toBe('m3');
  });
});
