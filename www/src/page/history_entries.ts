import { shallowReactive } from 'vue';
import { entriesOf, idKeyOf, insert, lengthOf, limit, makeEntry, sameValue, type ConversationState, type Entry, type NewEntry } from './conversation_store';

/** An entry as another tab of the same user hands it over. */
export interface SharedEntry extends NewEntry {
  readonly seen: boolean;
}

/** The newest entries, for another tab. Those that this tab has yet to send stay here. */
export function recentEntries(state: ConversationState): SharedEntry[] {
  const sharedEntries = 1_000;
  return entriesOf(state)
    .filter(({ status }) => status !== 'queued' && status !== 'failed')
    .slice(-sharedEntries)
    .map(({ id, own, value, at, status, seen, file }) => ({
      id, own, value, at, seen,
      status: status === 'sending' || status === 'held' ? 'other_tab' : status,
      // The other tab gets whole files only.
      file: file && { ...file, cancel: null, problem: file.content === null ? (file.problem ?? 'incomplete') : null },
    }));
}

/** Adds the entries of another tab that this one does not have, in the order of time. */
export function mergeHistory(into: ConversationState, shared: readonly SharedEntry[]): void {
  const present = entriesOf(into);
  const anonymous = present.filter(({ id }) => id === null);
  const fresh: Entry[] = [];
  for (const entry of shared) {
    const idKey = idKeyOf(entry);
    const existing = idKey === null ? anonymous.find((one) => one.own === entry.own && one.at === entry.at && sameValue(one, entry)) : into.ids.get(idKey);
    if (existing !== undefined && sameValue(existing, entry)) {
      existing.seen ||= entry.seen;
      continue;
    }
    const made = makeEntry({ ...entry, file: entry.file ? shallowReactive(entry.file) : null }, entry.seen);
    fresh.push(made);
    if (idKey !== null && existing === undefined) into.ids.set(idKey, made);
    if (!entry.own && into.lastReceived === null) into.lastReceived = entry.id;
  }
  if (fresh.length === 0) return;
  into.chunks.splice(0);
  into.last = null;
  for (const entry of [...present, ...fresh].sort((a, b) => a.at - b.at)) insert(into, entry);
  into.count += fresh.length;
  for (const entry of fresh) into.characters += lengthOf(entry);
  limit(into);
}
