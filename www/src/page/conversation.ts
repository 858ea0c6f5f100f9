import { computed, effectScope, onScopeDispose, watch, type EffectScope } from 'vue';
import { useChat, type UseChatReturn } from '../composables';
import { announce } from './announce';
import { pageVisible } from './browser_state';
import { contentText, fileLabel, isFileMessage, previewText, quoteOf } from './content';
import { append, conversationState, markSeen, moveToEnd, removeConversation, removeEntry, setTyping, type ConversationState, type Entry, type FileState } from './conversation_store';
import { failureText } from './failure';
import { afterFiles, receiveFile, sendFile } from './files';
import type { Received } from './files/receive';
import { t } from './i18n';
import { addToast, dismissToastsOf, notifyDesktop } from './notifications';
import { server } from './server';
import { session } from './session';
import { readSignal } from './signals';
import { groupName, newMessageId, SendError, type Ack } from '../waystation';

/** The default of the server's `max_message_bytes`. */
export const maxMessageBytes = 65_536;

/** A conversation with its chat socket. */
export interface Conversation {
  readonly state: ConversationState;
  readonly chat: UseChatReturn;
  /** Sends the text unless it is empty, then the attachments. */
  readonly send: (text: string) => void;
  readonly sendAgain: (entry: Entry) => void;
  /** Sends a message again when the peer is reachable. Until then it waits in this tab. */
  readonly hold: (entry: Entry) => void;
  /** Stops a message from waiting. */
  readonly cancel: (entry: Entry) => void;
  /** Moves a message of this user back to the draft. */
  readonly edit: (entry: Entry) => void;
  /** Adds a quote of the message to the draft. */
  readonly reply: (entry: Entry) => void;
  /** Removes a message from this tab only. */
  readonly remove: (entry: Entry) => void;
  readonly sendTyping: (typing: boolean) => void;
  /** The view is closed. The socket closes once every message is acknowledged: a message that waits for the peer keeps it open. */
  readonly leave: () => void;
}

const conversations = new Map<string, { readonly conversation: Conversation; readonly scope: EffectScope }>();

/** Messages below the visible part are not read. */
const isReading = (state: ConversationState): boolean => state.open && state.atEnd && pageVisible.value;

/** Handles a message of the conversation with this user, from the chat socket or the push socket. `own`: from another tab of this user. */
export function receiveMessage(peer: string, received: Received, own = false): void {
  const state = conversationState(peer);
  if (isFileMessage(received.message)) receiveFile(addMessage, state, received, own);
  else afterFiles(() => void addMessage(state, received, own));
}

/** Adds a message or file of the conversation, and tells the user. Null for a repetition. */
function addMessage(state: ConversationState, { id, message, at }: Received, own: boolean, file: FileState | null = null): Entry | null {
  const entry = append(state, { id, own, value: message, at, status: own ? 'other_tab' : null, file });
  if (entry !== null && !own) tellOf(state, entry);
  return entry;
}

function tellOf(state: ConversationState, entry: Entry): void {
  const { peer } = state;
  const { id, value: message } = entry;
  const text = previewText(message);
  if (state.open) announce(t('chat.arrived', { user: peer, text }));
  else addToast(peer, text);
  if (isReading(state)) return;
  if (state.unread === 0) state.firstUnread = entry;
  state.unread += 1;
  void notifyDesktop(peer, text, id);
}

export function openConversation(me: string, peer: string): Conversation {
  let existing = conversations.get(peer);
  if (existing === undefined) {
    const scope = effectScope(true);
    const conversation = scope.run(() => startConversation(me, peer, () => scope.stop()));
    if (conversation === undefined) throw new Error('a new scope is active');
    existing = { conversation, scope };
    conversations.set(peer, existing);
  }
  existing.conversation.state.open = true;
  return existing.conversation;
}

/** Closes a conversation and removes it from this tab. */
export function closeConversation(peer: string): void {
  conversations.get(peer)?.scope.stop();
  removeConversation(peer);
}

/** The user of this tab changed. */
export function closeConversations(): void {
  for (const { scope } of conversations.values()) scope.stop();
}

function startConversation(me: string, peer: string, end: () => void): Conversation {
  const state = conversationState(peer);
  // Another tab may have been in the conversation while this one was not.
  void import('../soon').then((soon) => soon.askHistory(peer), () => {});
  const chat = useChat(groupName(me, peer), {
    user: me,
    server,
    token: session.fetchToken,
    maxMessageBytes,
    onMessage(message) {
      receiveMessage(peer, message, message.own);
    },
    onSignal(value) {
      const signal = readSignal(value);
      if (signal === null) return;
      if ('typing' in signal) setTyping(state, signal.typing);
      else markSeen(state, signal.seen);
    },
  });
  watch(session.token, (token) => {
    if (token !== null) chat.setToken(token);
  });

  /** In a burst of messages, one signal for the newest is enough. */
  const seenIntervalMs = 250;
  let seenTimer: ReturnType<typeof setTimeout> | undefined;
  const reading = computed(() => isReading(state));
  watch(
    // Presence too: a peer who returns did not receive the earlier signal.
    [reading, chat.present, () => state.count, () => state.lastReceived],
    ([now]) => {
      if (!now) return;
      state.unread = 0;
      dismissToastsOf(peer);
      seenTimer ??= setTimeout(() => {
        seenTimer = undefined;
        if (state.lastReceived !== null && reading.value) chat.signal({ seen: state.lastReceived });
      }, seenIntervalMs);
    },
    { immediate: true },
  );
  watch(
    chat.present,
    (present) => {
      state.present = present;
      if (!present) setTyping(state, false);
    },
    { immediate: true },
  );

  /** Messages that are not acknowledged. */
  const pending = new Set<Entry>();
  /** The number of those with `hold`. */
  let holding = 0;
  // On an open connection too, the offline queue may wait for the peer.
  watch([chat.isOpen, chat.queued], ([open]) => {
    for (const entry of pending) {
      if (entry.status !== 'held') entry.status = open && !chat.isQueued(entry.id ?? '') ? 'sending' : 'queued';
    }
  });
  watch(
    chat.held,
    (ids) => {
      for (const entry of pending) {
        if (ids.includes(entry.id ?? '')) entry.status = 'held';
        // The other parts of a file follow.
        else if (entry.status === 'held') entry.status = 'sending';
      }
    },
    { flush: 'sync' },
  );

  /** A message after one that waits for the peer waits too. */
  async function transmit(entry: Entry, hold = holding > 0): Promise<void> {
    entry.failure = null;
    entry.status = chat.isOpen.value ? 'sending' : 'queued';
    pending.add(entry);
    holding += Number(hold);
    try {
      const id = entry.id ?? newMessageId();
      /** A message that waited is shown in the order of the arrival; a file where its first part arrived. */
      const arrived = (ack: Ack): void => {
        if (hold) moveToEnd(state, entry, ack.at);
        entry.at = ack.at;
      };
      let ack: Ack;
      do {
        // A peer who left during a file needs all parts again: only the first one waits.
        ack = await (entry.file === null
          ? chat.send(entry.value, { id, hold })
          : sendFile(
              state,
              async (part, partId) => {
                const isFirst = partId === id;
                const partAck = await chat.send(part, { id: partId, hold: hold && isFirst });
                if (isFirst) arrived(partAck);
                return partAck;
              },
              entry,
              () => moveToEnd(state, entry),
            ));
      } while (hold && entry.file !== null && ack.route === 'none');
      if (entry.file === null) arrived(ack);
      entry.status = ack.route === 'unconfirmed' ? 'unknown' : ack.route;
      if (ack.route === 'none') announce(t('status.none.long', { user: peer }));
    } catch (error) {
      const failure = error instanceof SendError ? error : null;
      // Its first part may wait for the peer.
      if (failure?.code === 'canceled' && entry.id !== null) chat.cancel(entry.id);
      entry.status = failure?.outcome === 'unknown' ? 'unknown' : 'failed';
      if (failure?.code !== 'canceled') {
        entry.failure = { code: failure?.code ?? 'unknown', detail: failure?.message ?? String(error) };
        // No announcement after the user has signed out.
        if (conversations.has(peer)) announce(`${t(`status.${entry.status}`)}: ${failureText(entry.failure)}`);
      }
    }
    holding -= Number(hold);
    pending.delete(entry);
    endIfIdle();
  }

  /** The signal is repeated, since a peer who opens the conversation later has missed it. */
  const typingIntervalMs = 3_000;
  let typingSentAt = 0;
  function sendTyping(typing: boolean): void {
    const now = Date.now();
    if (typing ? now - typingSentAt < typingIntervalMs : typingSentAt === 0) return;
    typingSentAt = typing ? now : 0;
    chat.signal({ typing });
  }

  function add(value: string, file: FileState | null = null): void {
    const entry = append(state, { id: newMessageId(), own: true, value, at: Date.now(), status: 'sending', file });
    if (entry !== null) void transmit(entry);
  }

  function cancel({ id, file }: Entry): void {
    file?.cancel?.();
    if (id !== null) chat.cancel(id);
  }

  function endIfIdle(): void {
    if (!state.open && pending.size === 0) end();
  }

  onScopeDispose(() => {
    conversations.delete(peer);
    clearTimeout(seenTimer);
    state.present = null;
    setTyping(state, false);
  });

  return {
    state,
    chat,
    sendTyping,
    send(text) {
      sendTyping(false);
      state.firstUnread = null;
      if (text !== '') add(text);
      for (const file of state.attachments.splice(0)) if (file.content !== null) add(fileLabel(file.name), file);
    },
    sendAgain(entry) {
      moveToEnd(state, entry);
      void transmit(entry);
    },
    hold: (entry) => void transmit(entry, true),
    cancel,
    edit(entry) {
      cancel(entry);
      removeEntry(state, entry);
      state.draft = [contentText(entry.value), state.draft].filter((text) => text !== '').join('\n');
    },
    reply(entry) {
      state.draft = quoteOf(contentText(entry.value)) + state.draft;
    },
    remove(entry) {
      cancel(entry);
      removeEntry(state, entry);
    },
    leave() {
      state.open = false;
      if (state.unread === 0) state.firstUnread = null;
      sendTyping(false);
      endIfIdle();
    },
  };
}
