import { computed, shallowReactive } from 'vue';

export type Status =
  /** In the offline queue. */
  | 'queued'
  /** Sent, not acknowledged. */
  | 'sending'
  /** Waits in this tab until the peer is reachable. */
  | 'held'
  /** The routes of the acknowledgement. */
  | 'chat'
  | 'push'
  | 'none'
  /** Not sent, or rejected by the server. */
  | 'failed'
  /** The message may have arrived. */
  | 'unknown'
  /** Sent by another tab, which handles the acknowledgement. */
  | 'other_tab';

export interface Failure {
  readonly code: string;
  readonly detail: string;
}

/** A file that is being sent or received, or was. */
export interface FileState {
  readonly name: string;
  readonly type: string;
  readonly size: number;
  /** The bytes that are sent or received so far. */
  done: number;
  /** The whole file. Null while it is received, and with a problem. */
  content: Blob | null;
  /** The size of an image that can be shown; null for other files. */
  picture: { readonly width: number; readonly height: number } | null;
  /** Whether an attached image or video is sent unchanged: what it says about its place and its camera stays in it. */
  keepsMetadata: boolean;
  /** `released`: this tab removed it, since its files were too large together. The last four: it cannot be sent. */
  problem: 'canceled' | 'incomplete' | 'invalid' | 'released' | 'large' | 'empty' | 'unreadable' | 'many' | null;
  /** Stops sending the file; null if it is not being sent. */
  cancel: (() => void) | null;
}

export interface Entry {
  readonly key: number;
  readonly id: string | null;
  readonly own: boolean;
  /** With a file: its name, as a text. */
  value: unknown;
  /** Another one after the sender has begun the file again. */
  file: FileState | null;
  at: number;
  status: Status | null;
  failure: Failure | null;
  seen: boolean;
}

/**
 * Part of a conversation. A new entry renders only the last chunk again. Chunks far outside the view are not in the
 * document.
 */
export interface Chunk {
  readonly key: number;
  /** The entry before the first one. */
  before: Entry | null;
  readonly entries: Entry[];
}

export interface ConversationState {
  readonly peer: string;
  readonly chunks: Chunk[];
  /** The newest entry for each id. A removed one is without its file. */
  readonly ids: Map<string, Entry>;
  last: Entry | null;
  count: number;
  /** Of all its messages, as JSON. */
  characters: number;
  unread: number;
  /** The first message that was unread when the view was opened, for the divider. */
  firstUnread: Entry | null;
  typing: boolean;
  /** Whether the peer is present; null if unknown. */
  present: boolean | null;
  /** Whether its view is open, and scrolled to the end. */
  open: boolean;
  atEnd: boolean;
  /** Text and files that are not sent yet, kept while another conversation is open. */
  draft: string;
  readonly attachments: FileState[];
  /** The id of the peer's message that arrived last as a whole, for the signal that it was seen. */
  lastReceived: string | null;
}

export const chunkSize = 50;
/** The oldest messages of a conversation leave the tab beyond these limits, so that no peer can fill its memory. */
export const maxMessages = 20_000;
export const maxCharacters = 16 * 1024 * 1024;
const maxNotices = 1_000;
/** Beyond this number, the one with the oldest message leaves the tab: first those without unread messages. */
export const maxConversations = 1_000;

let nextKey = 1;

const byPeer = shallowReactive(new Map<string, ConversationState>());
const noticeEntries = shallowReactive<Entry[]>([]);
const noticeState = shallowReactive({ unread: 0 });
const typingTimers = new Map<string, ReturnType<typeof setTimeout>>();

/** The peer repeats the typing signal. Without one for this time, the peer has stopped. */
const typingTimeoutMs = 6_000;

export function conversationState(peer: string): ConversationState {
  const existing = byPeer.get(peer);
  if (existing !== undefined) return existing;
  if (byPeer.size >= maxConversations) {
    const oldestFirst = [...byPeer.values()].sort((a, b) => Math.sign(a.unread) - Math.sign(b.unread) || lastAt(a) - lastAt(b));
    const spare = oldestFirst.find((one) => !isNeeded(one));
    if (spare !== undefined) removeConversation(spare.peer);
  }
  const created: ConversationState = shallowReactive({
    peer,
    chunks: shallowReactive([]),
    ids: new Map<string, Entry>(),
    last: null,
    count: 0,
    characters: 0,
    unread: 0,
    firstUnread: null,
    typing: false,
    present: null,
    open: false,
    atEnd: true,
    draft: '',
    attachments: shallowReactive([]),
    lastReceived: null,
  });
  byPeer.set(peer, created);
  return created;
}

const lastAt = ({ last }: ConversationState): number => last?.at ?? 0;

/** Newest first. Conversations without a message follow in the order of opening. */
export const conversationList = computed(() => [...byPeer.values()].sort((a, b) => lastAt(b) - lastAt(a)));

export const notices: readonly Entry[] = noticeEntries;
export const unreadNotices = computed(() => noticeState.unread);

export const unreadTotal = computed(() => {
  let total = noticeState.unread;
  for (const one of byPeer.values()) total += one.unread;
  return total;
});

export interface NewEntry {
  readonly id: string | null;
  readonly own: boolean;
  readonly value: unknown;
  readonly at: number;
  readonly status: Status | null;
  readonly file?: FileState | null;
}

export function makeEntry(entry: NewEntry, seen = false): Entry {
  return shallowReactive({ ...entry, file: entry.file ?? null, key: nextKey++, failure: null, seen });
}

export const lengthOf = ({ value }: NewEntry): number => JSON.stringify(value).length;
export const idKeyOf = ({ id, own }: Pick<NewEntry, 'id' | 'own'>): string | null => (id === null ? null : `${own ? '>' : '<'}${id}`);
export const sameValue = (one: NewEntry, other: NewEntry): boolean => JSON.stringify(one.value) === JSON.stringify(other.value);

/** All entries, in order. */
export const entriesOf = (state: ConversationState): Entry[] => state.chunks.flatMap(({ entries }) => entries);

/** A message that its sender repeats later than this is shown again, in place of the earlier one. */
const repetitionMs = 10 * 60_000;

/**
 * Adds a message. Null for a repetition, since a message may arrive twice. A late one replaces the earlier message.
 * Clients may reuse ids: the messages are compared too.
 */
export function append(into: ConversationState, entry: NewEntry): Entry | null {
  const idKey = idKeyOf(entry);
  const existing = idKey === null ? undefined : into.ids.get(idKey);
  if (existing !== undefined && sameValue(existing, entry)) {
    const isLate = entry.at - existing.at >= repetitionMs;
    // Another tab of this user sends it again each time that the peer returns.
    const moved = (entry.own ? existing.status === 'other_tab' : isLate) && moveToEnd(into, existing, entry.at);
    if (entry.own || !isLate) return null;
    if (moved) {
      received(into, entry);
      return existing;
    }
  }
  const created = makeEntry(entry);
  if (idKey !== null) into.ids.set(idKey, created);
  insert(into, created);
  into.count += 1;
  into.characters += lengthOf(created);
  limit(into);
  if (!entry.own) received(into, created);
  return created;
}

/** The sender of a message still waits for it. */
const isPending = ({ status }: Entry): boolean => status === 'queued' || status === 'sending' || status === 'held';

/** Removes the oldest messages of a conversation that is too large. */
export function limit(within: ConversationState): void {
  const { chunks, ids } = within;
  while (within.count > maxMessages || within.characters > maxCharacters) {
    const [first, second] = chunks;
    if (first === undefined || second === undefined) return;
    second.before = null;
    second.entries.unshift(...first.entries.filter(isPending));
    for (const entry of first.entries) {
      if (isPending(entry)) continue;
      const idKey = idKeyOf(entry);
      if (idKey !== null && ids.get(idKey) === entry) ids.delete(idKey);
      within.count -= 1;
      within.characters -= lengthOf(entry);
    }
    chunks.shift();
  }
}

function received(into: ConversationState, { id, file }: NewEntry): void {
  if (id !== null && !file) into.lastReceived = id;
  setTyping(into, false);
}

export function insert(into: ConversationState, entry: Entry): void {
  let chunk = into.chunks[into.chunks.length - 1];
  if (chunk === undefined || chunk.entries.length >= chunkSize) {
    chunk = shallowReactive({ key: nextKey++, before: into.last, entries: shallowReactive([]) });
    into.chunks.push(chunk);
  }
  chunk.entries.push(entry);
  into.last = entry;
}

const hasDraft = ({ draft, attachments }: ConversationState): boolean => draft.trim() !== '' || attachments.length > 0;
const isUnsent = (entry: Entry): boolean => isPending(entry) || entry.status === 'failed';
/** Whether a file is being received or sent. */
export const isIncomplete = (file: FileState | null): boolean => file !== null && file.content === null && file.problem === null;
/** Whether the user would lose more than messages that were shown. */
const isNeeded = (state: ConversationState): boolean =>
  state.open || hasDraft(state) || entriesOf(state).some((entry) => isUnsent(entry) || isIncomplete(entry.file));

/** Whether the tab has any message that it would lose. */
export const hasMessages = (): boolean => noticeEntries.length > 0 || [...byPeer.values()].some(({ count }) => count > 0);

/** The number of drafts, and of messages that are not sent. */
export function unsentCount(): number {
  let unsent = 0;
  for (const state of byPeer.values()) {
    unsent += Number(hasDraft(state)) + entriesOf(state).filter(isUnsent).length;
  }
  return unsent;
}

/** Removes an entry from this tab. */
export function removeEntry(within: ConversationState, entry: Entry): void {
  if (!take(within, entry)) return;
  within.count -= 1;
  within.characters -= lengthOf(entry);
  const idKey = idKeyOf(entry);
  // A repetition stays away. A file that did not arrive may begin again.
  if (idKey !== null && within.ids.get(idKey) === entry) within.ids.set(idKey, { ...entry, at: entry.file?.content === null ? 0 : entry.at, file: null });
}

/** Removes a conversation with its messages from this tab. */
export function removeConversation(peer: string): void {
  const state = byPeer.get(peer);
  if (state !== undefined) setTyping(state, false);
  byPeer.delete(peer);
}

/** False if the user has removed the entry. */
function take(within: ConversationState, entry: Entry): boolean {
  let found = false;
  let before: Entry | null = null;
  for (const chunk of within.chunks) {
    chunk.before = before;
    const index = chunk.entries.indexOf(entry);
    if (index >= 0) found = chunk.entries.splice(index, 1).length > 0;
    before = chunk.entries[chunk.entries.length - 1] ?? before;
  }
  within.last = before;
  return found;
}

/** Moves an entry that is sent again to the end. False, and no effect, if the user has removed it. */
export function moveToEnd(within: ConversationState, entry: Entry, at = Date.now()): boolean {
  entry.at = at;
  const found = take(within, entry);
  if (found) insert(within, entry);
  return found;
}

const midnight = (at: number): number => new Date(at).setHours(0, 0, 0, 0);

/** Whether a new day begins with this entry. Clocks differ, so that an entry may be older than the one before it. */
export function beginsDay(entry: Entry, before: Entry | null): boolean {
  return before === null || midnight(entry.at) > midnight(before.at);
}

export function appendNotice(value: unknown, at: number, read: boolean): void {
  noticeEntries.push(makeEntry({ id: null, own: false, value, at, status: null }));
  if (noticeEntries.length > maxNotices) noticeEntries.shift();
  if (!read) noticeState.unread += 1;
}

export function readNotices(): void {
  noticeState.unread = 0;
}

/** The peer saw all own messages up to this one. */
export function markSeen(within: ConversationState, id: string): void {
  let reached = false;
  for (let c = within.chunks.length - 1; c >= 0; c -= 1) {
    const entries = within.chunks[c]?.entries ?? [];
    for (let e = entries.length - 1; e >= 0; e -= 1) {
      const entry = entries[e];
      if (entry === undefined || !entry.own) continue;
      if (entry.id === id) reached = true;
      if (!reached || (entry.status !== 'chat' && entry.status !== 'push')) continue;
      // Earlier entries are marked already.
      if (entry.seen) return;
      entry.seen = true;
    }
  }
}

export function setTyping(within: ConversationState, typing: boolean): void {
  clearTimeout(typingTimers.get(within.peer));
  typingTimers.delete(within.peer);
  within.typing = typing;
  if (typing) typingTimers.set(within.peer, setTimeout(() => setTyping(within, false), typingTimeoutMs));
}

/** The user of this tab changed, and must not see the conversations of the previous one. */
export function clearConversations(): void {
  for (const timer of typingTimers.values()) clearTimeout(timer);
  typingTimers.clear();
  byPeer.clear();
  noticeEntries.splice(0);
  noticeState.unread = 0;
}
