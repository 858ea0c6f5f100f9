import { computed, effectScope, onScopeDispose, watch, type EffectScope } from 'vue';
import { useChat, type UseChatReturn } from '../composables';
import { announce } from './announce';
import { pageVisible } from './attention';
import { append, conversation, markSeen, messageText, moveToEnd, setTyping, type Conversation, type Entry } from './conversations';
import { failureText } from './failure';
import { t } from './i18n';
import { addToast, dropToastsOf, notifyDesktop } from './notify';
import { server } from './server';
import { session } from './session';
import { readSignal } from './signals';
import { groupName, newMessageId, SendError } from '../waystation';

/** The server's `max_message_bytes`, as it is unless an operator changed it. */
export const largestFrame = 65_536;

/** A conversation with its connection. */
export interface Talk {
  readonly here: Conversation;
  readonly chat: UseChatReturn;
  readonly send: (text: string) => void;
  readonly sendAgain: (entry: Entry) => void;
  readonly tellTyping: (typing: boolean) => void;
  /** Nobody looks any more. It ends once everything that was written has its ack. */
  readonly leave: () => void;
}

const talks = new Map<string, { readonly talk: Talk; readonly scope: EffectScope }>();

/** Read by being shown: what is below the part in sight is not. */
const watched = (here: Conversation): boolean => here.open && here.atEnd && pageVisible.value;

/** The other one wrote, and it came by whichever socket. */
export function receive(peer: string, { id, message, at }: { readonly id: string | null; readonly message: unknown; readonly at: number }): void {
  const into = conversation(peer);
  const entry = append(into, { id, own: false, value: message, at, status: null });
  if (entry === null) return;
  const text = messageText(message);
  if (into.open) announce(t('chat.arrived', { user: peer, text }));
  else addToast(peer, text);
  if (watched(into)) return;
  into.unread += 1;
  void notifyDesktop(peer, text, id);
}

export function openTalk(me: string, peer: string): Talk {
  let known = talks.get(peer);
  if (known === undefined) {
    const scope = effectScope(true);
    const talk = scope.run(() => startTalk(me, peer, () => scope.stop()));
    if (talk === undefined) throw new Error('a new scope is active');
    known = { talk, scope };
    talks.set(peer, known);
  }
  known.talk.here.open = true;
  return known.talk;
}

/** The user of this tab changed. */
export function endTalks(): void {
  for (const { scope } of talks.values()) scope.stop();
}

function startTalk(me: string, peer: string, end: () => void): Talk {
  const here = conversation(peer);
  const chat = useChat(groupName(me, peer), {
    user: me,
    server,
    token: session.bringToken,
    maxMessageBytes: largestFrame,
    onMessage(arrived) {
      if (arrived.own) append(here, { id: arrived.id, own: true, value: arrived.message, at: arrived.at, status: 'other_tab' });
      else receive(peer, arrived);
    },
    onSignal(value) {
      const signal = readSignal(value);
      if (signal === null) return;
      if ('typing' in signal) setTyping(here, signal.typing);
      else markSeen(here, signal.seen);
    },
  });
  watch(session.token, (token) => {
    if (token !== null) chat.setToken(token);
  });

  /** In a burst of messages, the newest few times a second stands for all. */
  const seenEveryMs = 250;
  let seenTimer: ReturnType<typeof setTimeout> | undefined;
  const watching = computed(() => watched(here));
  watch(
    // Whoever comes back could not hear it when it was first said.
    [watching, chat.present, () => here.count],
    ([now]) => {
      if (!now) return;
      here.unread = 0;
      dropToastsOf(peer);
      seenTimer ??= setTimeout(() => {
        seenTimer = undefined;
        if (here.lastReceived !== null && watching.value) chat.signal({ seen: here.lastReceived });
      }, seenEveryMs);
    },
    { immediate: true },
  );
  watch(
    chat.present,
    (present) => {
      here.present = present;
      if (!present) setTyping(here, false);
    },
    { immediate: true },
  );

  /** Messages without a ack so far. */
  const pending = new Set<Entry>();
  watch(chat.isOpen, (open) => {
    if (open) for (const entry of pending) entry.status = 'sending';
  });

  async function transmit(entry: Entry): Promise<void> {
    entry.failure = null;
    entry.status = chat.isOpen.value ? 'sending' : 'queued';
    pending.add(entry);
    try {
      const ack = await chat.send(entry.value, entry.id ?? newMessageId());
      entry.at = ack.at;
      entry.status = ack.route === 'unconfirmed' ? 'unknown' : ack.route;
      if (ack.route === 'none') announce(t('status.none.long', { user: peer }));
    } catch (error) {
      const failure = error instanceof SendError ? error : null;
      entry.status = failure?.outcome === 'unknown' ? 'unknown' : 'failed';
      entry.failure = { code: failure?.code ?? 'unknown', detail: failure?.message ?? String(error) };
      // Whoever signed out meanwhile hears no more of it.
      if (talks.has(peer)) announce(`${t(`status.${entry.status}`)}: ${failureText(entry.failure)}`);
    }
    pending.delete(entry);
    endIfOver();
  }

  /** Said again every few seconds, because nothing tells whoever comes later. */
  const typingEveryMs = 3_000;
  let typingTold = 0;
  function tellTyping(typing: boolean): void {
    const now = Date.now();
    if (typing ? now - typingTold < typingEveryMs : typingTold === 0) return;
    typingTold = typing ? now : 0;
    chat.signal({ typing });
  }

  function endIfOver(): void {
    if (!here.open && pending.size === 0) end();
  }

  onScopeDispose(() => {
    talks.delete(peer);
    clearTimeout(seenTimer);
    here.present = null;
    setTyping(here, false);
  });

  return {
    here,
    chat,
    tellTyping,
    send(text) {
      tellTyping(false);
      const entry = append(here, { id: newMessageId(), own: true, value: text, at: Date.now(), status: 'sending' });
      if (entry !== null) void transmit(entry);
    },
    sendAgain(entry) {
      moveToEnd(here, entry);
      void transmit(entry);
    },
    leave() {
      here.open = false;
      tellTyping(false);
      endIfOver();
    },
  };
}
