import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { openChat, type Chat, type ChatMessage, type ChatOptions } from './chat';
import { NameError } from './names';
import { SendError } from './send_error';
import { FakeBrowser, type FakeTab } from './testing/fake_browser';

let browser: FakeBrowser;
let tab: FakeTab;
let chat: Chat | null = null;

beforeEach(() => {
  vi.useFakeTimers({ now: 1_700_000_000_000 });
  browser = new FakeBrowser();
  tab = browser.tab();
});

afterEach(() => {
  chat?.close();
  chat = null;
  vi.useRealTimers();
});

function open(options: Partial<ChatOptions> = {}): Chat {
  chat = openChat('alice_bob', { user: 'alice', environment: tab.environment, ...options });
  return chat;
}

function opened(options: Partial<ChatOptions> = {}): Chat {
  const made = open(options);
  browser.socket.accept();
  return made;
}

const outcome = async (promise: Promise<unknown>): Promise<string> => {
  const error: unknown = await promise.then(
    () => null,
    (reason: unknown) => reason,
  );
  if (!(error instanceof SendError)) throw new Error(`not a SendError: ${String(error)}`);
  return `${error.code} ${error.outcome}`;
};

const messages = (from: Chat): ChatMessage[] => {
  const heard: ChatMessage[] = [];
  from.on('message', (message) => heard.push(message));
  return heard;
};

describe('openChat', () => {
  it('opens the route of the group with the user’s name', () => {
    open();
    expect(browser.socket.url).toBe('ws://relay.example:8080/ws/chat/alice_bob/?user=alice');
  });

  it('keeps the folder of a server inside a larger site', () => {
    open({ server: 'https://site.example/relay' });
    expect(browser.socket.url).toBe('wss://site.example/relay/ws/chat/alice_bob/?user=alice');
  });

  it('rejects an address that is not http or ws', () => {
    expect(() => open({ server: 'ftp://site.example/' })).toThrow(/use http, https, ws or wss/);
  });

  it('rejects a reversed group, and a user outside the group', () => {
    expect(() => openChat('bob_alice', { user: 'alice', environment: tab.environment })).toThrow(NameError);
    expect(() => openChat('alice_bob', { user: 'carol', environment: tab.environment })).toThrow(NameError);
  });
});

describe('sending', () => {
  it('resolves with the acknowledgement', async () => {
    const ack = opened().send('hello', 'm1');
    expect(browser.socket.frames).toEqual([{ message: 'hello', to_user: 'bob', id: 'm1' }]);
    browser.socket.sendFrame({ ack: { id: 'm1', route: 'push', reached: 2, at: 5 } });
    await expect(ack).resolves.toEqual({ id: 'm1', route: 'push', reached: 2, at: 5, partial: false });
    const partial = chat?.send('hello', 'm2');
    browser.socket.sendFrame({ ack: { id: 'm2', route: 'chat', reached: 1, at: 6, partial: true } });
    await expect(partial).resolves.toEqual({ id: 'm2', route: 'chat', reached: 1, at: 6, partial: true });
  });

  it('matches acknowledgements to messages by id', async () => {
    const one = opened().send('one', 'm1');
    const two = chat?.send('two', 'm2');
    browser.socket.sendFrame({ ack: { id: 'm2', route: 'none', reached: 0, at: 5 } });
    browser.socket.sendFrame({ ack: { id: 'm1', route: 'chat', reached: 1, at: 6 } });
    await expect(one).resolves.toMatchObject({ route: 'chat' });
    await expect(two).resolves.toMatchObject({ route: 'none' });
  });

  it('makes valid and unique ids', () => {
    opened();
    void chat?.send(1);
    void chat?.send(2);
    const ids = browser.socket.frames.map((frame) => String(frame.id));
    expect(new Set(ids).size).toBe(2);
    for (const id of ids) expect(id).toMatch(/^[A-Za-z0-9_-]{1,64}$/);
  });

  it('sends any JSON value, including null', () => {
    opened();
    void chat?.send(null, 'm1');
    void chat?.send({ a: [1, 'two', { '"': '\ud800' }] }, 'm2');
    expect(browser.socket.frames.map((frame) => frame.message)).toEqual([null, { a: [1, 'two', { '"': '\ud800' }] }]);
    // A lone surrogate has no UTF-8 encoding: it is sent as an escape.
    expect(browser.socket.received[1]).toContain('\\ud800');
  });

  it('throws for a value that JSON cannot express', () => {
    opened();
    expect(() => chat?.send(undefined)).toThrow(TypeError);
    expect(() => chat?.send(() => {})).toThrow(TypeError);
    expect(() => chat?.send(1n)).toThrow(TypeError);
  });

  it('throws for an invalid id, and for one in use', () => {
    opened();
    void chat?.send(1, 'm1');
    expect(() => chat?.send(2, 'm1')).toThrow(/in use/);
    expect(() => chat?.send(2, 'm 2')).toThrow(/not a message id/);
    expect(() => chat?.send(2, 'm'.repeat(65))).toThrow(/not a message id/);
  });

  it('rejects with the error of the server', async () => {
    const sent = opened().send('hello', 'm1');
    browser.socket.sendFrame({ error: { code: 'rate_limited', detail: 'slower', id: 'm1' } });
    expect(await outcome(sent)).toBe('rate_limited refused');
  });

  it('rejects without an acknowledgement in time, and checks the connection', async () => {
    const sent = opened({ ackDeadlineMs: 1000 }).send('hello', 'm1');
    vi.advanceTimersByTime(1000);
    expect(await outcome(sent)).toBe('no_ack unknown');
    expect(browser.socket.frames[1]).toMatchObject({ ping: 1 });
  });

  it('rejects when the connection is lost before the acknowledgement, and does not send again', async () => {
    const sent = opened().send('hello', 'm1');
    browser.socket.drop(1006);
    expect(await outcome(sent)).toBe('link_lost unknown');
    await vi.advanceTimersByTimeAsync(500);
    browser.socket.accept();
    expect(browser.socket.received).toEqual([]);
  });

  it('rejects a message above the size limit without sending it', async () => {
    const sent = opened({ maxMessageBytes: 100 }).send('é'.repeat(50));
    expect(await outcome(sent)).toBe('too_large not_sent');
    expect(browser.socket.received).toEqual([]);
  });

  it('rejects the largest message when the server closes with 1009', async () => {
    const small = opened().send('small', 'm1');
    const large = chat?.send('x'.repeat(1000), 'm2') ?? Promise.resolve();
    const fates = Promise.all([outcome(small), outcome(large)]);
    browser.socket.drop(1009);
    expect(await fates).toEqual(['link_lost unknown', 'too_large refused']);
  });

  it('causes no uncaught rejection if the caller ignores the result', async () => {
    void opened().send('hello');
    chat?.close();
    await vi.advanceTimersByTimeAsync(0);
  });
});

describe('the offline queue', () => {
  it('is sent in order when the connection opens', () => {
    const sizes: number[] = [];
    open().on('queue', ({ messages: size }) => sizes.push(size));
    void chat?.send('one', 'm1');
    void chat?.send('two', 'm2');
    expect(chat?.queued).toBe(2);
    browser.socket.accept();
    expect(browser.socket.frames.map((frame) => frame.message)).toEqual(['one', 'two']);
    expect(chat?.queued).toBe(0);
    expect(sizes).toEqual([1, 2, 1, 0]);
  });

  describe('after a lost connection', () => {
    const sent = (): unknown[] => browser.socket.frames.map((frame) => frame.message);

    /** The connection is back, and three messages wait. */
    async function returned(options: Partial<ChatOptions> = {}): Promise<Chat> {
      const made = opened(options);
      browser.socket.drop();
      void made.send('one');
      void made.send('two');
      await vi.advanceTimersByTimeAsync(1_000);
      browser.socket.accept();
      void made.send('three');
      return made;
    }

    it('waits until the receiver is reachable', async () => {
      await returned();
      browser.socket.sendFrame({ presence: { user: 'bob', present: false, reachable: false } });
      expect(sent()).toEqual([]);
      browser.socket.sendFrame({ presence: { user: 'bob', present: false, reachable: true } });
      expect(sent()).toEqual(['one', 'two', 'three']);
    });

    it('is sent after three seconds to a receiver who is not reachable', async () => {
      await returned();
      await vi.advanceTimersByTimeAsync(2_999);
      expect(sent()).toEqual([]);
      await vi.advanceTimersByTimeAsync(1);
      expect(sent()).toEqual(['one', 'two', 'three']);
    });

    it('is sent at once in the plain protocol, which does not tell', async () => {
      await returned({ protocol: 'plain' });
      expect(sent()).toEqual(['one', 'two', 'three']);
    });

    it.each([2_000, 300_000])('is sent at the deadline of %d ms of its first message', async (queueDeadlineMs) => {
      const made = opened({ queueDeadlineMs });
      browser.socket.drop();
      const results = ['one', 'two'].map((message) => made.send(message));
      await vi.advanceTimersByTimeAsync(queueDeadlineMs - 1_000);
      made.retry();
      browser.socket.accept();
      browser.socket.sendFrame({ presence: { user: 'bob', present: false, reachable: false } });
      await vi.advanceTimersByTimeAsync(999);
      expect(sent()).toEqual([]);
      await vi.advanceTimersByTimeAsync(1);
      expect(sent()).toEqual(['one', 'two']);
      for (const { id } of browser.socket.frames) browser.socket.sendFrame({ ack: { id, route: 'push', reached: 1, at: 1 } });
      expect(await Promise.all(results)).toMatchObject([{ route: 'push' }, { route: 'push' }]);
    });

    it.each([{ queueMessages: 3 }, { queueBytes: 250 }])('is sent when it is full: %j', async (limit) => {
      const made = await returned(limit);
      void made.send('four');
      expect(sent()).toEqual(['one', 'two', 'three', 'four']);
      expect(made.queued).toBe(0);
    });

    it('is sent before a message with hold', async () => {
      const made = await returned();
      void made.send('four', { hold: true });
      expect(sent()).toEqual([]);
      browser.socket.sendFrame({ presence: { user: 'bob', present: true, reachable: true } });
      expect(sent()).toEqual(['one', 'two', 'three', 'four']);
    });

    it('does not wait any more when the chat is closed', async () => {
      (await returned()).close();
      await vi.advanceTimersByTimeAsync(0);
      expect(vi.getTimerCount()).toBe(0);
    });

    it('waits anew when the connection is lost again', async () => {
      await returned();
      await vi.advanceTimersByTimeAsync(2_000);
      browser.socket.drop();
      await vi.advanceTimersByTimeAsync(1_000);
      browser.socket.accept();
      await vi.advanceTimersByTimeAsync(2_000);
      expect(sent()).toEqual([]);
      await vi.advanceTimersByTimeAsync(1_000);
      expect(sent()).toEqual(['one', 'two', 'three']);
    });
  });

  it('limits the number of messages', async () => {
    const made = open({ queueMessages: 1 });
    void made.send('one');
    expect(await outcome(made.send('two'))).toBe('queue_full not_sent');
    expect(made.queued).toBe(1);
  });

  it('limits the number of bytes', async () => {
    const made = open({ queueBytes: 150 });
    void made.send('x'.repeat(60));
    expect(await outcome(made.send('y'.repeat(60)))).toBe('queue_full not_sent');
    expect(made.queued).toBe(1);
  });

  it('rejects a message at its deadline', async () => {
    const sent = open({ queueDeadlineMs: 60_000 }).send('hello');
    const result = outcome(sent);
    await vi.advanceTimersByTimeAsync(60_000);
    expect(await result).toBe('expired not_sent');
    expect(chat?.queued).toBe(0);
  });

  it('is rejected when the chat is closed', async () => {
    const sent = open().send('hello');
    chat?.close();
    expect(await outcome(sent)).toBe('closed not_sent');
  });

  it('reports itself empty when the chat is closed', () => {
    const sizes: number[] = [];
    open().on('queue', ({ messages: size }) => sizes.push(size));
    void chat?.send('one');
    void chat?.send('two');
    chat?.close();
    expect(sizes).toEqual([1, 2, 1, 0]);
    expect(chat?.queued).toBe(0);
  });

  it('accepts no message after the chat is closed, and the chat stays closed', async () => {
    const made = opened();
    made.close();
    expect(await outcome(made.send('hello'))).toBe('closed not_sent');
    made.retry();
    made.setToken('new.new.new');
    await vi.advanceTimersByTimeAsync(0);
    expect(made.queued).toBe(0);
    expect(vi.getTimerCount()).toBe(0);
    expect(browser.sockets).toHaveLength(1);
  });

  it('accepts messages while the socket is closing', () => {
    opened();
    browser.socket.readyState = 2;
    void chat?.send('hello');
    expect(chat?.queued).toBe(1);
  });
});

describe('receiving', () => {
  it('reports sender, time and value', () => {
    const heard = messages(opened());
    browser.socket.sendFrame({ message: { text: 'hi' }, from: 'bob', id: 'm9', at: 7 });
    expect(heard).toEqual([expect.objectContaining({ message: { text: 'hi' }, from: 'bob', own: false, id: 'm9', at: 7 })]);
  });

  it('marks messages from another tab of the same user', () => {
    const heard = messages(opened());
    browser.socket.sendFrame({ message: 'hi', from: 'alice', id: null, at: 7 });
    expect(heard[0]?.own).toBe(true);
  });

  it('keeps the text of numbers that JavaScript cannot hold', () => {
    const heard = messages(opened());
    browser.socket.sendText('{"message":12345678901234567890,"from":"bob","id":null,"at":7}');
    expect(heard[0]?.source).toContain('12345678901234567890');
  });

  it('follows the presence of the other user, which is unknown without a connection', () => {
    const seen: (boolean | null)[] = [];
    opened().on('presence', (present) => seen.push(present));
    browser.socket.sendFrame({ presence: { user: 'bob', present: false } });
    browser.socket.sendFrame({ presence: { user: 'bob', present: true } });
    browser.socket.drop();
    expect(seen).toEqual([false, true, null]);
    expect(chat?.present).toBe(null);
  });

  it('follows whether the other user is reachable, if the server says it', () => {
    const seen: unknown[] = [];
    const made = opened();
    made.on('presence', (present) => seen.push(present));
    made.on('reachable', (reachable) => seen.push([reachable, made.present]));
    browser.socket.sendFrame({ presence: { user: 'bob', present: false } });
    browser.socket.sendFrame({ presence: { user: 'bob', present: false, reachable: false } });
    browser.socket.sendFrame({ presence: { user: 'bob', present: true, reachable: true } });
    browser.socket.sendFrame({ presence: { user: 'bob', present: false, reachable: true } });
    expect(made.reachable).toBe(true);
    browser.socket.drop();
    expect(seen).toEqual([false, [false, false], true, [true, true], false, null, [undefined, null]]);
  });

  it('receives signals, and sends them only over an open connection', () => {
    const heard: unknown[] = [];
    const made = open();
    expect(made.signal({ typing: true })).toBe(false);
    browser.socket.accept();
    made.on('signal', ({ signal }) => heard.push(signal));
    expect(made.signal({ typing: true })).toBe(true);
    browser.socket.sendFrame({ signal: { typing: false }, from: 'bob' });
    expect(browser.socket.frames).toEqual([{ signal: { typing: true } }]);
    expect(heard).toEqual([{ typing: false }]);
  });

  it('ignores unknown frames', () => {
    const heard = messages(opened());
    for (const text of ['', 'no json', '[]', 'null', '{}', '{"pong":1}', '"text"']) browser.socket.sendText(text);
    expect(heard).toEqual([]);
    expect(chat?.state.name).toBe('open');
  });

  it('emits an error that belongs to no message', () => {
    const errors: string[] = [];
    opened().on('error', ({ code }) => errors.push(code));
    browser.socket.sendFrame({ error: { code: 'bad_json', detail: 'no' } });
    expect(errors).toEqual(['bad_json']);
  });

  it('emits no event after it is closed', () => {
    const heard = messages(opened());
    const { socket } = browser;
    chat?.close();
    socket.late.message({ message: 'late', from: 'bob', id: null, at: 1 });
    expect(heard).toEqual([]);
  });

  it('ignores an acknowledgement after its deadline', async () => {
    const sent = opened({ ackDeadlineMs: 1000 }).send('hello', 'm1');
    const result = outcome(sent);
    await vi.advanceTimersByTimeAsync(1000);
    browser.socket.sendFrame({ ack: { id: 'm1', route: 'chat', reached: 1, at: 5 } });
    expect(await result).toBe('no_ack unknown');
  });

  it('calls the other listeners if one throws', () => {
    const uncaught = vi.spyOn(globalThis, 'queueMicrotask').mockImplementation(() => {});
    const made = opened();
    made.on('message', () => {
      throw new Error('the application’s own');
    });
    const heard = messages(made);
    browser.socket.sendFrame({ message: 'hi', from: 'bob', id: null, at: 7 });
    expect(heard).toHaveLength(1);
    expect(uncaught).toHaveBeenCalledOnce();
    uncaught.mockRestore();
  });
});

describe('the plain protocol', () => {
  it('sends the original frame, and resolves without an acknowledgement', async () => {
    const sent = opened({ protocol: 'plain' }).send('hello', 'm1');
    expect(browser.socket.frames).toEqual([{ message: 'hello', to_user: 'bob' }]);
    await expect(sent).resolves.toMatchObject({ id: 'm1', route: 'unconfirmed' });
  });

  it('receives messages without a sender', () => {
    const heard = messages(opened({ protocol: 'plain' }));
    browser.socket.sendFrame({ message: 'hello' });
    expect(heard[0]).toMatchObject({ message: 'hello', from: null, own: false, at: Date.now() });
  });

  it('sends no signals and no pings', async () => {
    opened({ protocol: 'plain' });
    expect(chat?.signal(1)).toBe(false);
    await vi.advanceTimersByTimeAsync(600_000);
    expect(browser.socket.received).toEqual([]);
  });
});
