import { fileLabel } from '../content';
import { isIncomplete, type ConversationState, type Entry, type FileState } from '../conversation_store';
import { readFileMessage, type FileMessage } from './format';
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
  readonly state: ConversationState;
  readonly entry: Entry;
  readonly file: FileState;
  /** Null once the file is complete, or has a problem. */
  bytes: Uint8Array<ArrayBuffer> | null;
  timer: ReturnType<typeof setTimeout> | undefined;
}

/** The transfers of a conversation, by sender and file id, oldest first. */
const transfers = new WeakMap<ConversationState, Map<string, Transfer>>();

function end(transfer: Transfer, problem: FileState['problem']): void {
  clearTimeout(transfer.timer);
  transfer.bytes = null;
  if (problem !== null) transfer.file.problem = problem;
}

/** Handles one message of a file. Whatever it holds, it costs an entry with an error text at most. */
export function receiveFile(addMessage: AddMessage, state: ConversationState, received: Received, own: boolean): void {
  const message = readFileMessage(received.message);
  if (message === null) return void addMessage(state, received, own);
  const all = transfers.get(state) ?? new Map<string, Transfer>();
  transfers.set(state, all);
  const key = `${own ? '>' : '<'}${message.id}`;
  const known = all.get(key);

  if (message.kind === 'begin') {
    const transfer = known === undefined ? begin(addMessage, state, all, key, received, own, message) : restart(all, key, known, message);
    if (transfer !== null) add(transfer, 0, message.data);
  } else if (message.kind === 'invalid') {
    if (known === undefined) addMessage(state, received, own);
    else if (known.bytes !== null) end(known, 'invalid');
  } else if (known !== undefined) {
    if (known.bytes === null) return;
    if (message.kind === 'canceled') end(known, 'canceled');
    else add(known, message.offset, message.data);
  } else if (message.kind === 'part') {
    // This tab was opened after the beginning.
    begin(addMessage, state, all, key, received, own, { ...message, name: '…', type: '', size: 0 }, 'incomplete');
  }
}

/** Makes room for one more incomplete file: the oldest one of the conversation is given up. False if the tab has too many. */
function makeRoom(all: ReadonlyMap<string, Transfer>): boolean {
  const open = [...all.values()].filter(({ bytes }) => bytes !== null);
  const oldest = open[0];
  if (open.length >= maxPerConversation && oldest !== undefined) end(oldest, 'incomplete');
  // No sender can end the transfers of another one.
  return allEntries().filter(({ file }) => isIncomplete(file)).length < maxIncomplete;
}

function begin(
  addMessage: AddMessage,
  state: ConversationState,
  all: Map<string, Transfer>,
  key: string,
  { at }: Received,
  own: boolean,
  description: { readonly id: string; readonly name: string; readonly type: string; readonly size: number },
  problem: FileState['problem'] = null,
): Transfer | null {
  const file = makeFile(description);
  file.problem = problem ?? (makeRoom(all) ? null : 'incomplete');
  const entry = addMessage(state, { id: description.id, message: fileLabel(file.name), at }, own, file);
  // Null, or an entry of before: a repetition.
  if (entry?.file !== file) return null;
  const bytes = file.problem === null ? new Uint8Array(file.size) : null;
  const transfer: Transfer = { state, entry, file, bytes, timer: undefined };
  all.set(key, transfer);
  return transfer;
}

/** The sender begins a file again that did not arrive. Null for a repetition, and if the tab has too many incomplete ones. */
function restart(all: Map<string, Transfer>, key: string, known: Transfer, { name, type, size }: FileMessage & { readonly kind: 'begin' }): Transfer | null {
  const { file } = known;
  if (file.content !== null || file.problem === 'released') return null;
  if (file.name !== name || file.type !== type || file.size !== size) {
    end(known, 'invalid');
    return null;
  }
  if (known.bytes === null) {
    if (!makeRoom(all)) return null;
    known.bytes = new Uint8Array(size);
    // It is the newest one now.
    all.delete(key);
    all.set(key, known);
  }
  file.problem = null;
  file.done = 0;
  return known;
}

function add(transfer: Transfer, offset: number, data: Uint8Array): void {
  const { bytes, file, entry, state } = transfer;
  if (bytes === null) return;
  const next = offset + data.length;
  // A part whose acknowledgement was lost is sent again.
  if (next <= file.done) return;
  if (offset !== file.done || next > file.size) return end(transfer, 'invalid');
  bytes.set(data, offset);
  file.done = next;
  clearTimeout(transfer.timer);
  if (next < file.size) {
    transfer.timer = setTimeout(() => end(transfer, 'incomplete'), partTimeoutMs);
    return;
  }
  end(transfer, null);
  setContent(file, bytes);
  if (!entry.own) state.lastReceived = entry.id;
  releaseOldFiles();
}
