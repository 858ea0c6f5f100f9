import { fileLabel } from '../content';
import { entriesOf, idKeyOf, lengthOf, moveToEnd, type ConversationState, type Entry, type FileState } from '../conversation_store';
import { readFileMessage, type FileDescription } from './format';
import { allEntries, makeFile, releaseOldFiles, setContent } from './store';

/** Limits of incomplete files: of one conversation, of the tab, and without a new part. */
export const maxPerConversation = 4;
export const maxIncomplete = 16;
/** Longer than the sender's offline queue keeps a part. */
export const partTimeoutMs = 6 * 60_000;

export interface Received {
  readonly id: string | null;
  readonly message: unknown;
  readonly at: number;
}

/** Adds an entry to a conversation, and tells the user. Null for a repetition. */
export type AddMessage = (state: ConversationState, received: Received, own: boolean, file?: FileState) => Entry | null;

interface Transfer {
  readonly bytes: Uint8Array<ArrayBuffer>;
  timer: ReturnType<typeof setTimeout> | undefined;
}

/** The bytes of incomplete files. Nothing else refers to them, so that they leave the tab with the entry of their file. */
const transfers = new WeakMap<FileState, Transfer>();

/** Whether the file is being received. */
const isOpen = (file: FileState | null): boolean => file !== null && transfers.has(file);
const keyOf = (id: string, own: boolean): string => idKeyOf({ id, own })!;

function end(file: FileState, problem: FileState['problem']): void {
  clearTimeout(transfers.get(file)?.timer);
  transfers.delete(file);
  if (problem !== null) file.problem = problem;
}

/** No part has arrived for a long time. The timer keeps no file that has left the tab. */
function expire(reference: WeakRef<FileState>): void {
  const file = reference.deref();
  if (file !== undefined) end(file, 'incomplete');
}

/** Handles one message of a file. Whatever it holds, it costs an entry with an error text at most. */
export function receiveFile(addMessage: AddMessage, state: ConversationState, received: Received, own: boolean): void {
  const message = readFileMessage(received.message);
  if (message === null) return void addMessage(state, received, own);
  const known = state.ids.get(keyOf(message.id, own));

  if (message.kind === 'begin') {
    const entry = begin(addMessage, state, known, received, own, message);
    if (entry !== null) add(state, entry, 0, message.data);
  } else if (known !== undefined) {
    // Otherwise the file has ended, or the user has removed it.
    if (!isOpen(known.file)) return;
    if (message.kind === 'part') add(state, known, message.offset, message.data);
    else end(known.file!, message.kind);
  } else if (message.kind === 'invalid') {
    addMessage(state, received, own);
  } else if (message.kind === 'part') {
    // This tab was opened after the beginning.
    const file = makeFile({ name: '…', type: '', size: 0 });
    file.problem = 'incomplete';
    addFile(addMessage, state, message.id, received, own, file);
  }
}

/** Makes room for one more incomplete file: the oldest one of the conversation is given up. False if the tab has too many. */
function makeRoom(state: ConversationState): boolean {
  const open = entriesOf(state).filter(({ file }) => isOpen(file));
  if (open.length >= maxPerConversation) end(open[0]!.file!, 'incomplete');
  // No sender can end the transfers of another one.
  return allEntries().filter(({ file }) => isOpen(file)).length < maxIncomplete;
}

function addFile(addMessage: AddMessage, state: ConversationState, id: string, { at }: Received, own: boolean, file: FileState): Entry | null {
  return addMessage(state, { id, message: fileLabel(file.name), at }, own, file);
}

const isSame = (one: FileDescription, other: FileDescription): boolean => one.name === other.name && one.type === other.type && one.size === other.size;

/** `known`: the newest entry with the id of the file. Null for a repetition, and for a file that cannot be received. */
function begin(addMessage: AddMessage, state: ConversationState, known: Entry | undefined, received: Received, own: boolean, description: FileDescription & { readonly id: string }): Entry | null {
  const { id } = description;
  const file = makeFile(description);
  const before = known?.file ?? null;
  if (known !== undefined && before !== null) {
    if (isOpen(before)) {
      before.done = 0;
      if (isSame(before, file)) return known;
      end(before, 'invalid');
      return null;
    }
    if (before.content === null && before.problem !== 'released') return beginAgain(addMessage, state, known, received, file);
    if (isSame(before, file)) return null;
    // Clients may reuse ids: it is another file.
    state.ids.delete(keyOf(id, own));
  }
  const hasRoom = makeRoom(state);
  if (!hasRoom) file.problem = 'incomplete';
  const entry = addFile(addMessage, state, id, received, own, file);
  // It may be a repetition of one that the user has removed.
  if (entry?.file !== file || !hasRoom) return null;
  start(file);
  return entry;
}

/** The sender begins a file again that did not arrive: as a message that is sent again, it moves to the end. */
function beginAgain(addMessage: AddMessage, state: ConversationState, entry: Entry, received: Received, file: FileState): Entry | null {
  if (!makeRoom(state)) return null;
  state.characters -= lengthOf(entry);
  // The tab may know no more than its id.
  entry.value = fileLabel(file.name);
  entry.file = file;
  state.characters += lengthOf(entry);
  if (addFile(addMessage, state, entry.id!, received, entry.own, file) === null) moveToEnd(state, entry, received.at);
  start(file);
  return entry;
}

function start(file: FileState): void {
  transfers.set(file, { bytes: new Uint8Array(file.size), timer: undefined });
}

function add(state: ConversationState, entry: Entry, offset: number, data: Uint8Array): void {
  const file = entry.file!;
  const transfer = transfers.get(file)!;
  const next = offset + data.length;
  // A part whose acknowledgement was lost is sent again.
  if (next <= file.done) return;
  if (offset !== file.done || next > file.size) return end(file, 'invalid');
  transfer.bytes.set(data, offset);
  file.done = next;
  clearTimeout(transfer.timer);
  if (next < file.size) {
    transfer.timer = setTimeout(expire, partTimeoutMs, new WeakRef(file));
    return;
  }
  end(file, null);
  setContent(file, transfer.bytes);
  if (!entry.own) state.lastReceived = entry.id;
  releaseOldFiles();
}
