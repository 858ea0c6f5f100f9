import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import {
  append, appendNotice, chunkSize, conversation, conversationList, forgetEverything, markSeen, messageText, readNotices, setTyping, unreadNotices, unreadTotal,
  type Entry, type Status,
} from './conversations';

beforeEach(() => {
  vi.useFakeTimers({ now: 1_700_000_000_000 });
});

afterEach(() => {
  forgetEverything();
  vi.useRealTimers();
});

const bob = () => conversation('bob');
const own = (id: string, status: Status = 'chat'): Entry | null => append(bob(), { id, own: true, value: id, at: 1, status });
const theirs = (id: string | null, at = 1): Entry | null => append(bob(), { id, own: false, value: id, at, status: null });

describe('a conversation', () => {
  it('is kept in chunks, in the order of arrival', () => {
    for (let i = 0; i < chunkSize + 1; i += 1) theirs(`m${i}`);
    const { chunks, count, last } = bob();
    expect(chunks.map((chunk) => chunk.entries.length)).toEqual([chunkSize, 1]);
    expect(chunks[1]?.before).toBe(chunks[0]?.entries[chunkSize - 1]);
    expect(count).toBe(chunkSize + 1);
    expect(last?.id).toBe(`m${chunkSize}`);
  });

  it('takes the same message once', () => {
    expect(theirs('m1')).not.toBe(null);
    expect(theirs('m1')).toBe(null);
    expect(bob().count).toBe(1);
  });

  it('takes the same id from both sides, and any number without one', () => {
    theirs('m1');
    own('m1');
    theirs(null);
    theirs(null);
    expect(bob().count).toBe(4);
  });

  it('comes before those with older messages', () => {
    append(conversation('carol'), { id: null, own: false, value: '', at: 5, status: null });
    theirs(null, 9);
    expect(conversationList.value.map(({ peer }) => peer)).toEqual(['bob', 'carol']);
  });

  it('counts towards the unread, with the notices', () => {
    bob().unread = 2;
    appendNotice('disk full', 1, false);
    appendNotice('seen', 2, true);
    expect([unreadTotal.value, unreadNotices.value]).toEqual([3, 1]);
    readNotices();
    expect(unreadTotal.value).toBe(2);
  });

  it('is forgotten with all others when the user changes', () => {
    theirs('m1');
    appendNotice('x', 1, false);
    forgetEverything();
    expect(conversationList.value).toEqual([]);
    expect(unreadTotal.value).toBe(0);
  });
});

describe('markSeen', () => {
  it('marks what arrived up to the message that was seen', () => {
    const entries = [own('m1'), own('m2', 'none'), own('m3', 'push'), own('m4')];
    markSeen(bob(), 'm3');
    expect(entries.map((entry) => entry?.seen)).toEqual([true, false, true, false]);
  });

  it('marks nothing for a message that is not known', () => {
    const entry = own('m1');
    markSeen(bob(), 'other');
    expect(entry?.seen).toBe(false);
  });

  it('reaches back over chunks', () => {
    const first = own('first');
    for (let i = 0; i < chunkSize * 2; i += 1) theirs(`t${i}`);
    own('last');
    markSeen(bob(), 'last');
    expect(first?.seen).toBe(true);
  });
});

describe('typing', () => {
  it('ends by itself, and with the message', () => {
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

describe('messageText', () => {
  it('shows a string as it is, and anything else as the JSON that it is', () => {
    expect(messageText('<b>"')).toBe('<b>"');
    expect(messageText({ a: 1 })).toBe('{"a":1}');
    expect(messageText(null)).toBe('null');
  });
});
