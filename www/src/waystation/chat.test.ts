import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { openChat, SendError, type Chat, type ChatMessage, type ChatOptions } from './chat';
import { NameError } from './names';
import { ScriptedBrowser, type ScriptedTab } from './testing/scripted';

let browser: ScriptedBrowser;
let tab: ScriptedTab;
let chat: Chat | null = null;

beforeEach(() => {
  vi.useFakeTimers({ now: 1_700_000_000_000 });
  browser = new ScriptedBrowser();
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

const fate = async (promise: Promise<unknown>): Promise<string> => {
  const error: unknown = await promise.then(
    () => null,
    (reason: unknown) => reason,
  );
  if (!(error instanceof SendError)) throw new Error(`not a SendError: ${String(error)}`);
  return `${error.code} ${error.fate}`;
};

const messages = (from: Chat): ChatMessage[] => {
  const heard: ChatMessage[] = [];
  from.on('message', (message) => heard.push(message));
  return heard;
};

describe('openChat', () => {
  it('opens the group’s route and names the caller', () => {
    open();
    expect(browser.socket.url).toBe('ws://relay.example:8080/ws/chat/alice_bob/?user=alice');
  });

  it('keeps the folder of a server that is part of a larger site', () => {
    open({ server: 'https://site.example/relay' });
    expect(browser.socket.url).toBe('wss://site.example/relay/ws/chat/alice_bob/?user=alice');
  });

  it('refuses an address that is no server’s', () => {
    expect(() => open({ server: 'ftp://site.example/' })).toThrow(/http, https, ws and wss/);
  });

  it('refuses a reversed group, and a stranger', () => {
    expect(() => openChat('bob_alice', { user: 'alice', environment: tab.environment })).toThrow(NameError);
    expect(() => openChat('alice_bob', { user: 'carol', environment: tab.environment })).toThrow(NameError);
  });
});

describe('sending', () => {
  it('resolves with the verdict', async () => {
    const verdict = opened().send('hello', 'm1');
    expect(browser.socket.frames).toEqual([{ message: 'hello', to_user: 'bob', id: 'm1' }]);
    browser.socket.say({ ack: { id: 'm1', route: 'push', reached: 2, at: 5 } });
    await expect(verdict).resolves.toEqual({ id: 'm1', route: 'push', reached: 2, at: 5 });
  });

  it('keeps verdicts apart', async () => {
    const one = opened().send('one', 'm1');
    const two = chat?.send('two', 'm2');
    browser.socket.say({ ack: { id: 'm2', route: 'none', reached: 0, at: 5 } });
    browser.socket.say({ ack: { id: 'm1', route: 'chat', reached: 1, at: 6 } });
    await expect(one).resolves.toMatchObject({ route: 'chat' });
    await expect(two).resolves.toMatchObject({ route: 'none' });
  });

  it('makes ids that the server takes, and each another', () => {
    opened();
    void chat?.send(1);
    void chat?.send(2);
    const ids = browser.socket.frames.map((frame) => String(frame.id));
    expect(new Set(ids).size).toBe(2);
    for (const id of ids) expect(id).toMatch(/^[A-Za-z0-9_-]{1,64}$/);
  });

  it('sends any JSON, null included', () => {
    opened();
    void chat?.send(null, 'm1');
    void chat?.send({ a: [1, 'two', { '"': '\ud800' }] }, 'm2');
    expect(browser.socket.frames.map((frame) => frame.message)).toEqual([null, { a: [1, 'two', { '"': '\ud800' }] }]);
    // A lone surrogate has no UTF-8: it may travel as an escape only.
    expect(browser.socket.received[1]).toContain('\\ud800');
  });

  it('throws for what JSON cannot say', () => {
    opened();
    expect(() => chat?.send(undefined)).toThrow(TypeError);
    expect(() => chat?.send(() => {})).toThrow(TypeError);
    expect(() => chat?.send(1n)).toThrow(TypeError);
  });

  it('throws for an id that is malformed or in use', () => {
    opened();
    void chat?.send(1, 'm1');
    expect(() => chat?.send(2, 'm1')).toThrow(/in use/);
    expect(() => chat?.send(2, 'm 2')).toThrow(/not a message id/);
    expect(() => chat?.send(2, 'm'.repeat(65))).toThrow(/not a message id/);
  });

  it('rejects with the server’s refusal', async () => {
    const sent = opened().send('hello', 'm1');
    browser.socket.say({ error: { code: 'rate_limited', detail: 'slower', id: 'm1' } });
    expect(await fate(sent)).toBe('rate_limited refused');
  });

  it('rejects when no verdict comes in time, and asks whether the link lives', async () => {
    const sent = opened({ verdictDeadlineMs: 1000 }).send('hello', 'm1');
    vi.advanceTimersByTime(1000);
    expect(await fate(sent)).toBe('no_verdict unknown');
    expect(browser.socket.frames[1]).toMatchObject({ ping: 1 });
  });

  it('rejects when the link breaks before the verdict, and does not send again by itself', async () => {
    const sent = opened().send('hello', 'm1');
    browser.socket.drop(1006);
    expect(await fate(sent)).toBe('link_lost unknown');
    await vi.advanceTimersByTimeAsync(500);
    browser.socket.accept();
    expect(browser.socket.received).toEqual([]);
  });

  it('rejects what the server would close the socket for', async () => {
    const sent = opened({ maxMessageBytes: 100 }).send('é'.repeat(50));
    expect(await fate(sent)).toBe('too_large not_sent');
    expect(browser.socket.received).toEqual([]);
  });

  it('tells which message the server closed the socket for', async () => {
    const small = opened().send('small', 'm1');
    const large = chat?.send('x'.repeat(1000), 'm2') ?? Promise.resolve();
    const fates = Promise.all([fate(small), fate(large)]);
    browser.socket.drop(1009);
    expect(await fates).toEqual(['link_lost unknown', 'too_large refused']);
  });

  it('leaves no uncaught rejection with a caller who does not care', async () => {
    void opened().send('hello');
    chat?.close();
    await vi.advanceTimersByTimeAsync(0);
  });
});

describe('the queue of what is written offline', () => {
  it('is sent in order when the link opens', () => {
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

  it('is bounded in messages', async () => {
    const made = open({ queueMessages: 1 });
    void made.send('one');
    expect(await fate(made.send('two'))).toBe('queue_full not_sent');
    expect(made.queued).toBe(1);
  });

  it('is bounded in bytes', async () => {
    const made = open({ queueBytes: 150 });
    void made.send('x'.repeat(60));
    expect(await fate(made.send('y'.repeat(60)))).toBe('queue_full not_sent');
    expect(made.queued).toBe(1);
  });

  it('gives up what waited for too long', async () => {
    const sent = open({ queueDeadlineMs: 60_000 }).send('hello');
    const outcome = fate(sent);
    await vi.advanceTimersByTimeAsync(60_000);
    expect(await outcome).toBe('expired not_sent');
    expect(chat?.queued).toBe(0);
  });

  it('is rejected when the conversation is closed', async () => {
    const sent = open().send('hello');
    chat?.close();
    expect(await fate(sent)).toBe('closed not_sent');
  });

  it('is told to be empty when the conversation is closed', () => {
    const sizes: number[] = [];
    open().on('queue', ({ messages: size }) => sizes.push(size));
    void chat?.send('one');
    void chat?.send('two');
    chat?.close();
    expect(sizes).toEqual([1, 2, 1, 0]);
    expect(chat?.queued).toBe(0);
  });

  it('takes nothing once the conversation is closed, which stays so', async () => {
    const made = opened();
    made.close();
    expect(await fate(made.send('hello'))).toBe('closed not_sent');
    made.retry();
    made.setToken('new.new.new');
    await vi.advanceTimersByTimeAsync(0);
    expect(made.queued).toBe(0);
    expect(vi.getTimerCount()).toBe(0);
    expect(browser.sockets).toHaveLength(1);
  });

  it('takes what is sent while the socket is closing', () => {
    opened();
    browser.socket.readyState = 2;
    void chat?.send('hello');
    expect(chat?.queued).toBe(1);
  });
});

describe('receiving', () => {
  it('tells who, when and what', () => {
    const heard = messages(opened());
    browser.socket.say({ message: { text: 'hi' }, from: 'bob', id: 'm9', at: 7 });
    expect(heard).toEqual([expect.objectContaining({ message: { text: 'hi' }, from: 'bob', own: false, id: 'm9', at: 7 })]);
  });

  it('marks what another tab of the same user sent', () => {
    const heard = messages(opened());
    browser.socket.say({ message: 'hi', from: 'alice', id: null, at: 7 });
    expect(heard[0]?.own).toBe(true);
  });

  it('keeps the text of a number that JavaScript cannot hold', () => {
    const heard = messages(opened());
    browser.socket.sayText('{"message":12345678901234567890,"from":"bob","id":null,"at":7}');
    expect(heard[0]?.source).toContain('12345678901234567890');
  });

  it('follows the other user’s presence, and forgets it with the link', () => {
    const seen: (boolean | null)[] = [];
    opened().on('presence', (present) => seen.push(present));
    browser.socket.say({ presence: { user: 'bob', present: false } });
    browser.socket.say({ presence: { user: 'bob', present: true } });
    browser.socket.drop();
    expect(seen).toEqual([false, true, null]);
    expect(chat?.present).toBe(null);
  });

  it('hears signals, and says them only over an open link', () => {
    const heard: unknown[] = [];
    const made = open();
    expect(made.signal({ typing: true })).toBe(false);
    browser.socket.accept();
    made.on('signal', ({ signal }) => heard.push(signal));
    expect(made.signal({ typing: true })).toBe(true);
    browser.socket.say({ signal: { typing: false }, from: 'bob' });
    expect(browser.socket.frames).toEqual([{ signal: { typing: true } }]);
    expect(heard).toEqual([{ typing: false }]);
  });

  it('passes over frames that it does not know', () => {
    const heard = messages(opened());
    for (const text of ['', 'no json', '[]', 'null', '{}', '{"pong":1}', '"text"']) browser.socket.sayText(text);
    expect(heard).toEqual([]);
    expect(chat?.state.name).toBe('open');
  });

  it('passes on an error that belongs to no message', () => {
    const errors: string[] = [];
    opened().on('error', ({ code }) => errors.push(code));
    browser.socket.say({ error: { code: 'bad_json', detail: 'no' } });
    expect(errors).toEqual(['bad_json']);
  });

  it('hears nothing more once it is closed', () => {
    const heard = messages(opened());
    const { socket } = browser;
    chat?.close();
    socket.late.message({ message: 'late', from: 'bob', id: null, at: 1 });
    expect(heard).toEqual([]);
  });

  it('ignores a verdict that comes after its deadline', async () => {
    const sent = opened({ verdictDeadlineMs: 1000 }).send('hello', 'm1');
    const outcome = fate(sent);
    await vi.advanceTimersByTimeAsync(1000);
    browser.socket.say({ ack: { id: 'm1', route: 'chat', reached: 1, at: 5 } });
    expect(await outcome).toBe('no_verdict unknown');
  });

  it('survives a listener that throws', () => {
    const uncaught = vi.spyOn(globalThis, 'queueMicrotask').mockImplementation(() => {});
    const made = opened();
    made.on('message', () => {
      throw new Error('the application’s own');
    });
    const heard = messages(made);
    browser.socket.say({ message: 'hi', from: 'bob', id: null, at: 7 });
    expect(heard).toHaveLength(1);
    expect(uncaught).toHaveBeenCalledOnce();
    uncaught.mockRestore();
  });
});

describe('the plain dialect', () => {
  it('sends the original’s frame and knows no verdict', async () => {
    const sent = opened({ dialect: 'plain' }).send('hello', 'm1');
    expect(browser.socket.frames).toEqual([{ message: 'hello', to_user: 'bob' }]);
    await expect(sent).resolves.toMatchObject({ id: 'm1', route: 'unconfirmed' });
  });

  it('hears messages without a sender', () => {
    const heard = messages(opened({ dialect: 'plain' }));
    browser.socket.say({ message: 'hello' });
    expect(heard[0]).toMatchObject({ message: 'hello', from: null, own: false, at: Date.now() });
  });

  it('has no signals and no heartbeat, which the original does not know', async () => {
    opened({ dialect: 'plain' });
    expect(chat?.signal(1)).toBe(false);
    await vi.advanceTimersByTimeAsync(600_000);
    expect(browser.socket.received).toEqual([]);
  });
});
