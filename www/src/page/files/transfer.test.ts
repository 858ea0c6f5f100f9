import v8 from 'node:v8';
import vm from 'node:vm';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { append, clearConversations, conversationList, conversationState, entriesOf, maxMessages, removeConversation, removeEntry, unsentCount, type Entry, type FileState } from '../conversation_store';
import { mergeHistory, recentEntries } from '../history_entries';
import { SendError, type Ack, type Route } from '../../waystation';
import { maxFileBytes, partBytes, readFileMessage, writeCanceled, writePart } from './format';
import { maxIncomplete, maxPerConversation, partTimeoutMs, receiveFile, type AddMessage } from './receive';
import { createFileSender, type SendFile } from './send';
import { makeFile, maxKeptBytes, setContent } from './store';

let sendFile: SendFile;
beforeEach(() => {
  sendFile = createFileSender();
});

const log = { name: 'disk.log', type: 'text/html', size: 100_000 };
const bytes = Uint8Array.from({ length: log.size }, (_, n) => (n * 7) % 256);

let now = 1_700_000_000_000;

beforeEach(() => {
  vi.useFakeTimers({ now });
});
afterEach(() => {
  clearConversations();
  vi.useRealTimers();
});

const add: AddMessage = (state, { id, message, at }, own, file) => append(state, { id, own, value: message, at, status: own ? 'other_tab' : null, file });
const receive = (message: unknown, from = 'bob', own = false): void => receiveFile(add, conversationState(from), { id: null, message, at: (now += 1) }, own);
const part = (from: number, to: number, id = 'f1', description = log): unknown => writePart(id, description, bytes, from, to);
const entries = (from = 'bob'): Entry[] => entriesOf(conversationState(from));
const files = (from = 'bob'): (FileState | null)[] => entries(from).map(({ file }) => file);
/** The history of this tab in a new one. */
function openNewTab(): void {
  const shared = recentEntries(conversationState('bob')).map((entry) => ({ ...entry, file: entry.file && { ...entry.file } }));
  clearConversations();
  mergeHistory(conversationState('bob'), shared);
}
/** Whether exactly the bytes that were sent have arrived. */
const isWhole = async (file: FileState | null | undefined): Promise<boolean> => Buffer.from(await file!.content!.arrayBuffer()).equals(bytes);

describe('a file arrives', () => {
  it('in parts, as one entry with its name', async () => {
    receive(part(0, 60_000));
    expect(entries().map(({ id, value }) => [id, value])).toEqual([['f1', '📎 disk.log']]);
    expect(files()[0]).toMatchObject({ done: 60_000, content: null, problem: null });
    expect(conversationState('bob').lastReceived).toBe(null);
    receive(part(60_000, log.size));
    expect(entries().length).toBe(1);
    expect(await isWhole(files()[0])).toBe(true);
    // It counts as seen only now.
    expect(conversationState('bob').lastReceived).toBe('f1');
  });

  it('with the type of unknown bytes, whatever its sender says', () => {
    for (const [id, type] of [['f1', 'text/html'], ['f2', 'image/svg+xml'], ['f3', 'image/png']] as const) receive(part(0, 10, id, { ...log, type, size: 10 }));
    expect(files().map((file) => [file?.content?.type, file?.picture])).toEqual(Array.from({ length: 3 }, () => ['application/octet-stream', null]));
  });

  it('once, although parts arrive again', async () => {
    for (const [from, to] of [[0, 50_000], [0, 50_000], [50_000, 80_000], [50_000, 80_000], [80_000, log.size], [80_000, log.size], [0, 50_000]] as const) receive(part(from, to));
    expect(entries().length).toBe(1);
    expect(await isWhole(files()[0])).toBe(true);
  });

  it('from the beginning again, after it was interrupted', async () => {
    receive(part(0, 60_000));
    vi.advanceTimersByTime(partTimeoutMs);
    expect(files()[0]?.problem).toBe('incomplete');
    receive(part(60_000, log.size));
    expect(files()[0]?.content).toBe(null);
    receive(part(0, 60_000));
    receive(part(60_000, log.size));
    expect(files()[0]?.problem).toBe(null);
    expect(await isWhole(files()[0])).toBe(true);
  });

  it.each([
    ['this tab was opened in the middle of it', () => receive(part(60_000, 70_000))],
    ['another tab of the user received its beginning', () => {
      receive(part(0, 60_000));
      openNewTab();
    }],
    ['its sender canceled it', () => {
      receive(part(0, 60_000));
      receive(writeCanceled('f1'));
    }],
    ['it was damaged', () => {
      receive(part(0, 60_000));
      receive(part(70_000, 80_000));
    }],
    ['the user removed the part that arrived', () => {
      receive(part(0, 60_000));
      removeEntry(conversationState('bob'), entries()[0]!);
    }],
  ])('from the beginning again, after %s', async (_, fail) => {
    fail();
    append(conversationState('bob'), { id: 'm1', own: false, value: 'meanwhile', at: (now += 1), status: null });
    // The rest of the first attempt.
    receive(part(90_000, log.size));
    receive(part(0, 60_000));
    receive(part(60_000, log.size));
    // As for its sender, it is the last one now.
    expect(entries().map(({ value }) => value)).toEqual(['meanwhile', '📎 disk.log']);
    expect(files()[1]?.problem).toBe(null);
    expect(await isWhole(files()[1])).toBe(true);
    const state = conversationState('bob');
    expect([state.count, state.characters, state.lastReceived]).toEqual([2, '"meanwhile""📎 disk.log"'.length, 'f1']);
  });

  it('from the beginning again, and the user is told if it is late', () => {
    const told = vi.fn();
    const receiveAt = (at: number, message: unknown): void => receiveFile((...to) => {
      const entry = add(...to);
      if (entry !== null) told(entry.value);
      return entry;
    }, conversationState('bob'), { id: null, message, at }, false);
    receiveAt(now, part(0, 60_000));
    receiveAt(now, writeCanceled('f1'));
    receiveAt(now + 1_000, part(0, 60_000));
    receiveAt(now, writeCanceled('f1'));
    expect(told).toHaveBeenCalledTimes(1);
    receiveAt(now + 3_600_000, part(0, 60_000));
    expect(told.mock.calls).toEqual([['📎 disk.log'], ['📎 disk.log']]);
    expect(entries().length).toBe(1);
  });

  it('and a repetition of one that the user has removed stays away', () => {
    receive(part(0, 60_000));
    receive(part(60_000, log.size));
    removeEntry(conversationState('bob'), entries()[0]!);
    receive(part(0, 60_000));
    receive(part(60_000, log.size));
    expect(entries()).toEqual([]);
  });

  it('and the rest of one that the user has removed stays away', () => {
    receive(part(0, 60_000));
    removeEntry(conversationState('bob'), entries()[0]!);
    receive(part(60_000, log.size));
    receive(writeCanceled('f1'));
    expect(entries()).toEqual([]);
  });

  it('with the id of an earlier one', async () => {
    receive(part(0, 3, 'f1', { ...log, size: 3 }));
    receive(part(0, 60_000));
    receive(part(60_000, log.size));
    expect(files().map((file) => file?.size)).toEqual([3, log.size]);
    expect(await isWhole(files()[1])).toBe(true);
  });

  it('from two users with the same id, and from another tab of this user', async () => {
    receive(part(0, 60_000));
    receive(part(0, 50_000), 'carol');
    receive(part(0, 40_000), 'bob', true);
    receive(part(60_000, log.size));
    receive(part(50_000, log.size), 'carol');
    receive(part(40_000, log.size), 'bob', true);
    for (const file of [...files(), ...files('carol')]) expect(await isWhole(file)).toBe(true);
    expect(entries().map(({ own, status }) => [own, status])).toEqual([[false, null], [true, 'other_tab']]);
  });
});

describe('hostile parts cost an error text', () => {
  it.each([
    ['a gap', [part(0, 10), part(20, 30)]],
    ['an overlap', [part(0, 10), part(9, 20)]],
    ['more than its size', [part(0, 90_000), { file: { id: 'f1', offset: 90_000, data: btoa('x'.repeat(10_001)) } }]],
    ['bytes that are none', [part(0, 10), { file: { id: 'f1', offset: 10, data: '<' } }]],
    ['another description', [part(0, 10), part(0, 10, 'f1', { ...log, size: 99_999 })]],
  ])('%s', (_, messages) => {
    messages.forEach((message) => receive(message));
    receive(part(10, log.size));
    expect(files()).toMatchObject([{ problem: 'invalid', content: null }]);
  });

  it('a part without a beginning', () => {
    receive(part(60_000, 70_000));
    receive(part(70_000, log.size));
    expect(files()).toMatchObject([{ name: '…', problem: 'incomplete', content: null }]);
  });

  it('the end of a file that never began, and a file that is none', () => {
    receive(writeCanceled('f1'));
    expect(entries()).toEqual([]);
    receive({ file: { id: 'f1', offset: 0, size: maxFileBytes + 1, name: 'a', type: '', data: 'AAAA' } });
    receive({ file: 'f1' });
    expect(entries().map(({ file, value }) => [file, typeof value])).toEqual([[null, 'object'], [null, 'object']]);
  });

  it('many files that never end: the oldest of the same sender are given up', async () => {
    receive(part(0, 10), 'carol');
    for (let n = 0; n < 50; n += 1) receive(part(0, 10, `f${n}`));
    expect(files().filter((file) => file?.problem === null).length).toBe(maxPerConversation);
    receive(part(10, log.size), 'carol');
    expect(await isWhole(files('carol')[0])).toBe(true);
    for (let n = 0; n < 50; n += 1) receive(part(0, 10), `eve${n}`);
    const open = ['bob', ...Array.from({ length: 50 }, (_, n) => `eve${n}`)].flatMap((user) => files(user)).filter((file) => file?.problem === null);
    expect(open.length).toBe(maxIncomplete);
  });

  it('files that begin again: no more are open than before', async () => {
    for (let n = 0; n < 50; n += 1) receive(part(0, 10, `f${n}`));
    for (let n = 0; n < 50; n += 1) receive(part(0, 10, `f${n}`));
    const open = (): (FileState | null)[] => files().filter((file) => file?.problem === null);
    expect(open().length).toBe(maxPerConversation);
    // The newest ones may go on.
    receive(part(10, log.size, 'f49'));
    expect(await isWhole(files()[49])).toBe(true);
    for (let n = 0; n < maxIncomplete; n += 1) receive(part(0, 10), `eve${n}`);
    receive(part(0, 10, 'f0'));
    receive(part(10, log.size, 'f0'));
    expect(files()[0]?.content).toBe(null);
  });

  it('files that are too large together: the oldest are removed', () => {
    const count = maxKeptBytes / maxFileBytes;
    for (let n = 0; n < count; n += 1) {
      const file = makeFile({ ...log, size: maxFileBytes });
      setContent(file, bytes);
      add(conversationState('bob'), { id: `f${n}`, message: '', at: (now += 1) }, false, file);
    }
    receive(part(0, 3, 'last', { ...log, size: 3 }));
    expect(files().map((file) => file?.problem)).toEqual(['released', ...Array.from({ length: count }, () => null)]);
    expect(files()[0]?.content).toBe(null);
  });

  describe('files that leave the tab leave its memory', () => {
    v8.setFlagsFromString('--expose-gc');
    const collectGarbage = vm.runInNewContext('gc') as () => void;
    const large = { ...log, size: maxFileBytes };
    const whole = new Uint8Array(maxFileBytes);
    const state = () => conversationState('bob');
    const weakly = (): WeakRef<FileState> => new WeakRef(files()[0]!);
    /** Removes all earlier messages. */
    const flood = (): void => {
      for (let n = 0; n <= maxMessages; n += 1) append(state(), { id: null, own: false, value: '', at: (now += 1), status: null });
    };

    it.each([
      ['whole files, through the limit of a conversation', () => receive(writePart('f1', large, whole, 0, maxFileBytes)), flood],
      ['incomplete files, through the limit of a conversation', () => receive(part(0, 10, 'f1', large)), flood],
      ['whole files, by the user', () => receive(writePart('f1', large, whole, 0, maxFileBytes)), () => removeEntry(state(), entries()[0]!)],
      ['incomplete files, by the user', () => receive(part(0, 10, 'f1', large)), () => removeEntry(state(), entries()[0]!)],
      ['with the conversation', () => receive(part(0, 10, 'f1', large)), () => removeConversation('bob')],
    ])('%s', async (_, arrive, leave) => {
      arrive();
      const file = weakly();
      leave();
      expect(conversationList.value.flatMap(entriesOf).some((one) => one.file !== null)).toBe(false);
      vi.useRealTimers();
      for (let tries = 0; file.deref() !== undefined && tries < 10; tries += 1) {
        // A reference that was read is kept until the end of the task.
        await new Promise((resolve) => setTimeout(resolve));
        collectGarbage();
      }
      expect(file.deref() === undefined).toBe(true);
    });
  });

  it('a file that its sender cancels', () => {
    receive(part(0, 10));
    receive(writeCanceled('f1'));
    expect(files()).toMatchObject([{ problem: 'canceled', content: null }]);
  });
});

const ack = (id: string, route: Route = 'chat'): Ack => ({ id, route, reached: 1, at: 1, partial: false });

function entryOf(size = log.size): Entry {
  const file = makeFile({ ...log, size });
  setContent(file, bytes.slice(0, size));
  return { key: 1, id: 'f1', own: true, value: '', file, at: 1, status: 'sending', failure: null, seen: false };
}

describe('a file is sent', () => {
  const bob = () => conversationState('bob');
  const begin = vi.fn();
  beforeEach(() => begin.mockClear());
  /** The receiver of everything that `answer` lets pass. */
  function server(answer: (n: number, id: string) => Ack | SendError | Promise<Ack>): { readonly sent: string[]; readonly send: (message: unknown, id: string) => Promise<Ack> } {
    const sent: string[] = [];
    return {
      sent,
      async send(message, id) {
        sent.push(id);
        const result = answer(sent.length, id);
        if (result instanceof SendError) {
          if (result.outcome === 'unknown') receive(message);
          throw result;
        }
        receive(message);
        return result;
      },
    };
  }
  const run = async <T>(promise: Promise<T>): Promise<T> => {
    promise.catch(() => {});
    await vi.advanceTimersByTimeAsync(600_000);
    return promise;
  };

  it('in parts, each after the acknowledgement of the one before', async () => {
    let inFlight = 0;
    let most = 0;
    const relay = server(async (_, id) => {
      most = Math.max(most, (inFlight += 1));
      await Promise.resolve();
      inFlight -= 1;
      return ack(id, 'push');
    });
    const entry = entryOf();
    expect((await run(sendFile(bob(), relay.send, entry, begin))).route).toBe('push');
    expect(relay.sent).toEqual(['f1', `f1-${partBytes}`, `f1-${2 * partBytes}`]);
    expect(most).toBe(1);
    expect(begin).toHaveBeenCalledTimes(1);
    expect(await isWhole(files()[0])).toBe(true);
    expect(entry.file).toMatchObject({ done: log.size, cancel: null });
  });

  it('again where the server was too busy, or the acknowledgement was lost', async () => {
    const errors = [new SendError('rate_limited', 'refused', ''), null, new SendError('link_lost', 'unknown', ''), new SendError('unavailable', 'refused', '')];
    const relay = server((n, id) => errors[n - 1] ?? ack(id));
    await run(sendFile(bob(), relay.send, entryOf(), begin));
    expect(relay.sent.length).toBe(6);
    expect(await isWhole(files()[0])).toBe(true);
  });

  it('in smaller parts if the server allows no larger ones', async () => {
    const relay = server((n, id) => (n <= 2 ? new SendError('too_large', 'refused', '') : ack(id)));
    await run(sendFile(bob(), relay.send, entryOf(), begin));
    expect(relay.sent.slice(2, 4)).toEqual(['f1', 'f1-2811']);
    expect(await isWhole(files()[0])).toBe(true);
    // The limit is the server's, and holds for the next file.
    await run(sendFile(bob(), relay.send, { ...entryOf(3_000), id: 'f2' }, begin));
    expect(relay.sent.slice(-2)).toEqual(['f2', 'f2-2811']);
  });

  it('until the receiver is gone', async () => {
    const relay = server((n, id) => ack(id, n === 2 ? 'none' : 'chat'));
    expect((await run(sendFile(bob(), relay.send, entryOf(), begin))).route).toBe('none');
    expect(relay.sent.length).toBe(2);
  });

  it('until the server refuses a part, or is too busy for long', async () => {
    const refused = server((n, id) => (n === 2 ? new SendError('not_a_member', 'refused', 'no') : ack(id)));
    await expect(run(sendFile(bob(), refused.send, entryOf(), begin))).rejects.toMatchObject({ code: 'not_a_member' });
    const busy = server(() => new SendError('rate_limited', 'refused', ''));
    await expect(run(sendFile(bob(), busy.send, entryOf(), begin))).rejects.toMatchObject({ code: 'rate_limited' });
    expect(busy.sent.length).toBe(9);
  });

  it('until it is canceled, also while a part waits for the connection', async () => {
    const relay = server((n, id) => (n === 2 ? new Promise(() => {}) : ack(id)));
    const entry = entryOf();
    const sending = sendFile(bob(), relay.send, entry, begin);
    await vi.advanceTimersByTimeAsync(1_000);
    expect(relay.sent.length).toBe(2);
    entry.file?.cancel?.();
    await expect(run(sending)).rejects.toMatchObject({ code: 'canceled', outcome: 'not_sent' });
    expect(files()).toMatchObject([{ problem: 'canceled' }]);
  });

  it('while one to another user waits for that user', async () => {
    // Held: it is acknowledged when its receiver is back.
    const held = sendFile(conversationState('carol'), () => new Promise(() => {}), { ...entryOf(), id: 'held' }, begin);
    held.catch(() => {});
    const next = sendFile(conversationState('carol'), () => new Promise(() => {}), { ...entryOf(), id: 'next' }, begin);
    next.catch(() => {});
    const relay = server((_, id) => ack(id));
    await run(sendFile(bob(), relay.send, entryOf(), begin));
    expect(await isWhole(files()[0])).toBe(true);
    // The next one to that user has not begun.
    expect(begin).toHaveBeenCalledTimes(2);
  });

  it('with files to other users, at the rate of one file', async () => {
    const sent: string[] = [];
    const send = async (_: unknown, id: string): Promise<Ack> => {
      sent.push(id);
      return ack(id);
    };
    const users = ['bob', 'carol', 'dave'];
    void users.map((user) => sendFile(conversationState(user), send, { ...entryOf(), id: user }, begin));
    await vi.advanceTimersByTimeAsync(0);
    expect(sent).toEqual(users);
    const counts: number[] = [];
    for (let n = 0; n < 6; n += 1) {
      await vi.advanceTimersByTimeAsync(50);
      counts.push(sent.length);
    }
    expect(counts).toEqual([4, 5, 6, 7, 8, 9]);
    expect(sent.slice(3)).toEqual([partBytes, 2 * partBytes].flatMap((offset) => users.map((user) => `${user}-${offset}`)));
  });

  it('one after the other to the same user', async () => {
    const relay = server((_, id) => ack(id));
    await run(Promise.all([sendFile(bob(), relay.send, entryOf(), begin), sendFile(bob(), relay.send, { ...entryOf(3), id: 'f2' }, begin)]));
    expect(relay.sent).toEqual(['f1', `f1-${partBytes}`, `f1-${2 * partBytes}`, 'f2']);
  });
});

it('files that are not sent count as unsent', () => {
  const state = conversationState('bob');
  state.attachments.push(makeFile(log));
  expect(unsentCount()).toBe(1);
});

it('the messages of a file are of this shape', () => {
  expect(readFileMessage(JSON.parse(JSON.stringify(part(0, 3))))).toMatchObject({ kind: 'begin', ...log });
});
