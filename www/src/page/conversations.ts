import { computed, shallowReactive } from 'vue';

export type Status =
  /** Written while there is no connection. */
  | 'queued'
  /** On its way, without a ack so far. */
  | 'sending'
  /** The acks. */
  | 'chat'
  | 'push'
  | 'none'
  /** Not sent, or refused. */
  | 'failed'
  /** It may have arrived. */
  | 'unknown'
  /** Written in another tab, whose business the ack is. */
  | 'other_tab';

export interface Failure {
  readonly code: string;
  readonly detail: string;
}

export interface Entry {
  readonly key: number;
  readonly id: string | null;
  readonly own: boolean;
  readonly value: unknown;
  at: number;
  status: Status | null;
  failure: Failure | null;
  seen: boolean;
}

/**
 * Entries are kept in chunks so that a new one makes only the last chunk
 * render again, and so that chunks out of sight need not be in the document.
 */
export interface Chunk {
  readonly key: number;
  /** The one before its first. */
  before: Entry | null;
  readonly entries: Entry[];
}

export interface Conversation {
  readonly peer: string;
  readonly chunks: Chunk[];
  /** The newest under each id. */
  readonly ids: Map<string, Entry>;
  last: Entry | null;
  count: number;
  unread: number;
  typing: boolean;
  /** Whether the other one is there; null while that is not known. */
  present: boolean | null;
  /** Whether its view is open, and shows the end of it. */
  open: boolean;
  atEnd: boolean;
  /** Written and not sent: it waits here while another conversation is open. */
  draft: string;
  /** The newest message of the other one, to tell them that it was seen. */
  lastReceived: string | null;
}

export const chunkSize = 50;

let nextKey = 1;

const byPeer = shallowReactive(new Map<string, Conversation>());
const noticeEntries = shallowReactive<Entry[]>([]);
const noticeState = shallowReactive({ unread: 0 });
const typingTimers = new Map<string, ReturnType<typeof setTimeout>>();

/** The other side repeats itself while it goes on writing; after silence it has stopped. */
const typingMs = 6_000;

export function conversation(peer: string): Conversation {
  const known = byPeer.get(peer);
  if (known !== undefined) return known;
  const made: Conversation = shallowReactive({
    peer,
    chunks: shallowReactive([]),
    ids: new Map<string, Entry>(),
    last: null,
    count: 0,
    unread: 0,
    typing: false,
    present: null,
    open: false,
    atEnd: true,
    draft: '',
    lastReceived: null,
  });
  byPeer.set(peer, made);
  return made;
}

/** Newest first; those without a message as they were opened. */
export const conversationList = computed(() => [...byPeer.values()].sort((a, b) => (b.last?.at ?? 0) - (a.last?.at ?? 0)));

export const notices: readonly Entry[] = noticeEntries;
export const unreadNotices = computed(() => noticeState.unread);

export const unreadTotal = computed(() => {
  let total = noticeState.unread;
  for (const one of byPeer.values()) total += one.unread;
  return total;
});

interface NewEntry {
  readonly id: string | null;
  readonly own: boolean;
  readonly value: unknown;
  readonly at: number;
  readonly status: Status | null;
}

function makeEntry(entry: NewEntry): Entry {
  return shallowReactive({ ...entry, key: nextKey++, failure: null, seen: false });
}

/** Within so long the same message under the same id has come a second time; later it was said again. */
const repeatMs = 10 * 60_000;

/** Null if this message is there already: one that was sent again may arrive twice. An id alone says nothing, a client may use it again. */
export function append(into: Conversation, entry: NewEntry): Entry | null {
  const mark = entry.id === null ? null : `${entry.own ? '>' : '<'}${entry.id}`;
  const known = mark === null ? undefined : into.ids.get(mark);
  if (known !== undefined && entry.at - known.at < repeatMs && messageText(known.value) === messageText(entry.value)) return null;
  const made = makeEntry(entry);
  if (mark !== null) into.ids.set(mark, made);
  place(into, made);
  into.count += 1;
  if (!entry.own) {
    if (entry.id !== null) into.lastReceived = entry.id;
    setTyping(into, false);
  }
  return made;
}

function place(into: Conversation, entry: Entry): void {
  let chunk = into.chunks[into.chunks.length - 1];
  if (chunk === undefined || chunk.entries.length >= chunkSize) {
    chunk = shallowReactive({ key: nextKey++, before: into.last, entries: shallowReactive([]) });
    into.chunks.push(chunk);
  }
  chunk.entries.push(entry);
  into.last = entry;
}

/** What is sent again is said now. */
export function moveToEnd(within: Conversation, entry: Entry): void {
  let before: Entry | null = null;
  for (const chunk of within.chunks) {
    chunk.before = before;
    const index = chunk.entries.indexOf(entry);
    if (index >= 0) chunk.entries.splice(index, 1);
    before = chunk.entries[chunk.entries.length - 1] ?? before;
  }
  within.last = before;
  entry.at = Date.now();
  place(within, entry);
}

const midnight = (at: number): number => new Date(at).setHours(0, 0, 0, 0);

/** Whether a day begins with this entry. Clocks differ, so that one may seem to be from before the one before. */
export function beginsDay(entry: Entry, before: Entry | null): boolean {
  return before === null || midnight(entry.at) > midnight(before.at);
}

export function appendNotice(value: unknown, at: number, read: boolean): void {
  noticeEntries.push(makeEntry({ id: null, own: false, value, at, status: null }));
  if (!read) noticeState.unread += 1;
}

export function readNotices(): void {
  noticeState.unread = 0;
}

/** Everything of ours up to this message was seen. */
export function markSeen(within: Conversation, id: string): void {
  let reached = false;
  for (let c = within.chunks.length - 1; c >= 0; c -= 1) {
    const entries = within.chunks[c]?.entries ?? [];
    for (let e = entries.length - 1; e >= 0; e -= 1) {
      const entry = entries[e];
      if (entry === undefined || !entry.own) continue;
      if (entry.id === id) reached = true;
      if (!reached || (entry.status !== 'chat' && entry.status !== 'push')) continue;
      // What came before was marked when it was seen.
      if (entry.seen) return;
      entry.seen = true;
    }
  }
}

export function setTyping(within: Conversation, typing: boolean): void {
  clearTimeout(typingTimers.get(within.peer));
  typingTimers.delete(within.peer);
  within.typing = typing;
  if (typing) typingTimers.set(within.peer, setTimeout(() => setTyping(within, false), typingMs));
}

/** The user of this tab changed: what the last one saw is nobody's business. */
export function forgetEverything(): void {
  for (const timer of typingTimers.values()) clearTimeout(timer);
  typingTimers.clear();
  byPeer.clear();
  noticeEntries.splice(0);
  noticeState.unread = 0;
}

/** A message as text: what is not a string is shown as the JSON that it is. */
export function messageText(value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value);
}
