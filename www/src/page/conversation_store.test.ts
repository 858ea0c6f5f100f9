import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import {
  append, appendNotice, beginsDay, chunkSize, conversationState, conversationList, clearConversations, entriesOf, markSeen, maxCharacters, maxConversations, maxMessages, moveToEnd, removeEntry, readNotices, setTyping, unsentCount, unreadNotices, unreadTotal,
  type Entry, type Status,
} from './conversation_store';
import { mergeHistory, recentEntries } from './history_entries';

beforeEach(() => {
  vi.useFakeTimers({ now: 1_700_000_000_000 });
});

afterEach(() => {
  clearConversations();
  vi.useRealTimers();
});

const bob = () => conversationState('bob');
const own = (id: string, status: Status = 'chat'): Entry | null => append(bob(), { id, own: true, value: id, at: 1, status });
const theirs = (id: string | null, at = 1): Entry | null => append(bob(), { id, own: false, value: id, at, status: null });

describe('a conversation', () => {
  it('is stored in chunks, in the order of arrival', () => {
    for (let i = 0; i < chunkSize + 1; i += 1) theirs(`m${i}`);
    const { chunks, count, last } = bob();
    expect(chunks.map((chunk) => chunk.entries.length)).toEqual([chunkSize, 1]);
    expect(chunks[1]?.before).toBe(chunks[0]?.entries[chunkSize - 1]);
    expect(count).toBe(chunkSize + 1);
    expect(last?.id).toBe(`m${chunkSize}`);
  });

  it('loses its oldest messages when it has too many, but none that is still to be sent', () => {
    own('held', 'held');
    theirs('first');
    for (let i = 2; i < maxMessages; i += 1) theirs(`m${i}`);
    expect(bob().count).toBe(maxMessages);
    theirs('one more');
    const { chunks, count, ids } = bob();
    expect(count).toBe(maxMessages + 1 - (chunkSize - 1));
    expect(entriesOf(bob()).length).toBe(count);
    expect(chunks[0]?.entries.slice(0, 2).map(({ id }) => id)).toEqual(['held', `m${chunkSize}`]);
    expect(chunks[0]?.before).toBe(null);
    expect([ids.has('<first'), ids.has('>held')]).toEqual([false, true]);
  });

  it('loses its oldest messages when they are too long together', () => {
    const length = 60_000;
    const say = (n: number): Entry | null => append(bob(), { id: `m${n}`, own: false, value: 'x'.repeat(length), at: n, status: null });
    const many = Math.ceil(maxCharacters / length) + 500;
    for (let n = 0; n < many; n += 1) say(n);
    expect(bob().characters).toBeLessThanOrEqual(maxCharacters);
    expect(bob().last?.id).toBe(`m${many - 1}`);
    for (const entry of entriesOf(bob())) removeEntry(bob(), entry);
    expect([bob().count, bob().characters]).toEqual([0, 0]);
  });

  it('leaves the tab when there are too many: the oldest one that has nothing unread or unsent', () => {
    const open = (n: number): ReturnType<typeof conversationState> => {
      const state = conversationState(`user${n}`);
      append(state, { id: null, own: false, value: n, at: n, status: null });
      return state;
    };
    const all = Array.from({ length: maxConversations }, (_, n) => open(n));
    const [draft, unsent, file, unread, view] = all;
    draft!.draft = 'not finished';
    append(unsent!, { id: 'm', own: true, value: 'not sent', at: 1, status: 'failed' });
    append(file!, { id: 'f', own: false, value: 'f', at: 2, status: null, file: { name: 'f', type: '', size: 9, done: 0, content: null, picture: null, keepsMetadata: false, problem: null, cancel: null } });
    unread!.unread = 1;
    view!.open = true;

    open(maxConversations);
    const peers = (): readonly string[] => conversationList.value.map(({ peer }) => peer);
    expect(peers().length).toBe(maxConversations);
    expect(peers()).not.toContain('user5');
    for (const one of all.slice(5)) one.unread = 1;
    conversationState(`user${maxConversations}`).unread = 1;
    open(maxConversations + 1).unread = 1;
    expect(peers()).not.toContain('user3');
    expect(peers().slice(-4)).toEqual(['user4', 'user2', 'user1', 'user0']);
  });

  it('stores a repeated message once', () => {
    expect(theirs('m1')).not.toBe(null);
    expect(theirs('m1')).toBe(null);
    expect(bob().count).toBe(1);
  });

  it('stores another message with the same id', () => {
    const say = (value: string, at: number): Entry | null => append(bob(), { id: 'm1', own: false, value, at, status: null });
    expect(say('one', 1)).not.toBe(null);
    expect(say('two', 2)).not.toBe(null);
    expect(say('two', 3)).toBe(null);
    expect(bob().count).toBe(2);
  });

  it('shows a removed message again only if its sender repeats it later', () => {
    const removed = [theirs('m1'), append(bob(), { id: 'm2', own: true, value: 'm2', at: 1, status: 'other_tab' })];
    for (const entry of [...removed, ...removed]) removeEntry(bob(), entry!);
    expect(theirs('m1', 2)).toBe(null);
    // Another tab of this user sends it again.
    expect(append(bob(), { id: 'm2', own: true, value: 'm2', at: 2, status: 'other_tab' })).toBe(null);
    expect([entriesOf(bob()), bob().count, bob().characters]).toEqual([[], 0, 0]);
    const later = 1 + 10 * 60_000;
    expect(theirs('m1', later)?.at).toBe(later);
    expect([entriesOf(bob()).length, bob().count]).toEqual([1, 1]);
  });

  it('shows a message that its sender repeats later in place of the earlier one', () => {
    const first = theirs('m1', 1);
    theirs('m2', 2);
    const later = 1 + 10 * 60_000;
    expect(append(bob(), { id: 'm1', own: false, value: 'm1', at: later, status: null })).toBe(first);
    expect(entriesOf(bob()).map(({ id, at }) => [id, at])).toEqual([['m2', 2], ['m1', later]]);
    expect([bob().count, bob().lastReceived]).toEqual([2, 'm1']);
  });

  // Each attempt to deliver a held message comes to the other tabs of its sender.
  it('stores a message of another tab once, in its newest place', () => {
    const again = (at: number): Entry | null => append(bob(), { id: 'm1', own: true, value: 'hi', at, status: 'other_tab' });
    again(1);
    theirs('m2', 2);
    expect(again(3)).toBe(null);
    expect(again(3 + 60 * 60_000)).toBe(null);
    expect(entriesOf(bob()).map(({ id }) => id)).toEqual(['m2', 'm1']);
  });

  it('keeps a message of this tab that another one sends too', () => {
    const mine = own('m1', 'held');
    theirs('m2', 2);
    append(bob(), { id: 'm1', own: true, value: 'm1', at: 3, status: 'other_tab' });
    expect(entriesOf(bob()).map(({ id }) => id)).toEqual(['m1', 'm2']);
    expect(mine?.status).toBe('held');
  });

  it('stores equal ids of both users, and messages without an id', () => {
    theirs('m1');
    own('m1');
    theirs(null);
    theirs(null);
    expect(bob().count).toBe(4);
  });

  it('is listed before conversations with older messages', () => {
    append(conversationState('carol'), { id: null, own: false, value: '', at: 5, status: null });
    theirs(null, 9);
    expect(conversationList.value.map(({ peer }) => peer)).toEqual(['bob', 'carol']);
  });

  it('adds its unread messages to the notices', () => {
    bob().unread = 2;
    appendNotice('disk full', 1, false);
    appendNotice('seen', 2, true);
    expect([unreadTotal.value, unreadNotices.value]).toEqual([3, 1]);
    readNotices();
    expect(unreadTotal.value).toBe(2);
  });

  it('is removed with all others when the user changes', () => {
    theirs('m1');
    appendNotice('x', 1, false);
    clearConversations();
    expect(conversationList.value).toEqual([]);
    expect(unreadTotal.value).toBe(0);
  });
});

describe('moveToEnd', () => {
  const order = (): (string | null)[] => bob().chunks.flatMap((chunk) => chunk.entries.map((entry) => entry.id));

  it('moves a message to the end, with the current time', () => {
    const first = own('first', 'none');
    theirs('second');
    if (first === null) throw new Error('not taken');
    moveToEnd(bob(), first);
    expect(order()).toEqual(['second', 'first']);
    expect(first.at).toBe(Date.now());
    expect(bob().last).toBe(first);
    expect(bob().count).toBe(2);
  });

  it('updates the entry before each chunk, also around an empty chunk', () => {
    const all = Array.from({ length: chunkSize + 1 }, (_, i) => own(`m${i}`, 'none'));
    const [last, alone] = all.slice(-2);
    if (last == null || alone == null) throw new Error('not taken');
    moveToEnd(bob(), last);
    expect(bob().chunks[1]?.before?.id).toBe(`m${chunkSize - 2}`);
    moveToEnd(bob(), alone);
    moveToEnd(bob(), last);
    expect(order().slice(-3)).toEqual([`m${chunkSize - 2}`, alone.id, last.id]);
    expect(new Set(order()).size).toBe(chunkSize + 1);
  });

  it('keeps the last message in place', () => {
    const only = own('only', 'none');
    if (only === null) throw new Error('not taken');
    moveToEnd(bob(), only);
    expect(order()).toEqual(['only']);
    expect(beginsDay(only, bob().chunks[0]?.before ?? null)).toBe(true);
  });
});

describe('beginsDay', () => {
  const at = (text: string): Entry => {
    const entry = append(conversationState(text), { id: null, own: false, value: '', at: new Date(text).getTime(), status: null });
    if (entry === null) throw new Error('not taken');
    return entry;
  };

  it('is true after midnight only', () => {
    expect(beginsDay(at('2026-03-01T00:00'), null)).toBe(true);
    expect(beginsDay(at('2026-03-02T00:00'), at('2026-03-01T23:59:59'))).toBe(true);
    expect(beginsDay(at('2026-03-02T23:59'), at('2026-03-02T00:00'))).toBe(false);
    expect(beginsDay(at('2027-03-02T12:00'), at('2026-03-02T12:00'))).toBe(true);
  });

  it('is false for an earlier day', () => {
    expect(beginsDay(at('2026-03-01T23:59'), at('2026-03-02T00:01'))).toBe(false);
  });
});

describe('markSeen', () => {
  it('marks delivered messages up to the seen one', () => {
    const entries = [own('m1'), own('m2', 'none'), own('m3', 'push'), own('m4')];
    markSeen(bob(), 'm3');
    expect(entries.map((entry) => entry?.seen)).toEqual([true, false, true, false]);
  });

  it('marks nothing for an unknown id', () => {
    const entry = own('m1');
    markSeen(bob(), 'other');
    expect(entry?.seen).toBe(false);
  });

  it('marks messages across chunks', () => {
    const first = own('first');
    for (let i = 0; i < chunkSize * 2; i += 1) theirs(`t${i}`);
    own('last');
    markSeen(bob(), 'last');
    expect(first?.seen).toBe(true);
  });
});

describe('typing', () => {
  it('ends after a timeout, and with the message', () => {
    setTyping(bob(), true);
    vi.advanceTimersByTime(5_999);
    expect(bob().typing).toBe(true);
    vi.advanceTimersByTime(1);
    expect(bob().typing).toBe(false);
    setTyping(bob(), true);
    theirs('m1');
    expect(bob().typing).toBe(false);
  });
});

describe('the history of another tab', () => {
  const values = (): unknown[] => entriesOf(bob()).map(({ value }) => value);
  const received = (id: string | null, at: number): { id: string | null; own: boolean; value: string; at: number; status: null; seen: boolean } => ({ id, own: false, value: `m${at}`, at, status: null, seen: false });

  it('is added in the order of time, each message once', () => {
    append(bob(), { id: 'b', own: false, value: 'm2', at: 2, status: null });
    append(bob(), { id: null, own: false, value: 'm4', at: 4, status: null });
    mergeHistory(bob(), [received('a', 1), received('b', 2), received(null, 3), received(null, 4)]);
    expect(values()).toEqual(['m1', 'm2', 'm3', 'm4']);
    expect(bob().count).toBe(4);
    mergeHistory(bob(), [received('a', 1), received(null, 3)]);
    expect(values()).toEqual(['m1', 'm2', 'm3', 'm4']);
    // A repetition of a message that was handed over.
    expect(append(bob(), { id: 'a', own: false, value: 'm1', at: 5, status: null })).toBe(null);
    expect(bob().last?.value).toBe('m4');
    expect(bob().unread).toBe(0);
    expect(bob().lastReceived).toBe('b');
  });

  it('has chunks as usual', () => {
    mergeHistory(bob(), Array.from({ length: chunkSize + 1 }, (_, at) => received(`m${at}`, at)));
    expect(bob().chunks.map(({ entries }) => entries.length)).toEqual([chunkSize, 1]);
    expect(bob().chunks[1]?.before).toBe(bob().chunks[0]?.entries[chunkSize - 1]);
  });

  it('takes over what the other user has seen', () => {
    own('a');
    mergeHistory(bob(), [{ id: 'a', own: true, value: 'a', at: 1, status: 'chat', seen: true }]);
    expect(bob().last?.seen).toBe(true);
  });

  it('leaves to the other tab what that one has yet to send', () => {
    for (const status of ['queued', 'failed', 'sending', 'held', 'none', 'chat'] as const) own(status, status);
    expect(recentEntries(bob()).map(({ id, status }) => [id, status])).toEqual([['sending', 'other_tab'], ['held', 'other_tab'], ['none', 'none'], ['chat', 'chat']]);
  });

  it('is bounded', () => {
    for (let i = 0; i < 1_500; i += 1) theirs(`m${i}`);
    const shared = recentEntries(bob());
    expect(shared.length).toBe(1_000);
    expect(shared[999]?.id).toBe('m1499');
  });
});

describe('what would be lost', () => {
  it('is drafts, and messages that are not sent', () => {
    own('a', 'chat');
    own('b', 'none');
    theirs('c');
    expect(unsentCount()).toBe(0);
    bob().draft = ' ';
    expect(unsentCount()).toBe(0);
    bob().draft = 'a draft';
    for (const status of ['queued', 'sending', 'held', 'failed'] as const) own(status, status);
    conversationState('carol').draft = 'another';
    expect(unsentCount()).toBe(6);
  });
});
