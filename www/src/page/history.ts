import { watch } from 'vue';
import { appendNotice, conversationList, conversationState, notices } from './conversation_store';
import { mergeHistory, recentEntries, type SharedEntry } from './history_entries';
import { session } from './session';

/** A tab asks for the messages with one user, or for all. The answers come from the other tabs of the same user. */
type HistoryMessage =
  | { readonly kind: 'ask'; readonly peer: string | null; readonly needsToken: boolean }
  | {
      readonly kind: 'answer';
      readonly conversations: readonly { readonly peer: string; readonly entries: readonly SharedEntry[] }[];
      readonly notices: readonly { readonly value: unknown; readonly at: number }[];
      readonly token: string | null;
    };

let channel: BroadcastChannel | null = null;

const send = (message: HistoryMessage): void => channel?.postMessage(message);

/** Asks the other tabs for the messages with this user, or for all. */
export function askHistory(peer: string | null): void {
  send({ kind: 'ask', peer, needsToken: session.token.value === null });
}

function answer(peer: string | null, needsToken: boolean): void {
  const conversations = conversationList.value
    .filter((one) => one.count > 0 && (peer === null || peer === one.peer))
    .map((one) => ({ peer: one.peer, entries: recentEntries(one) }));
  const shared = peer === null ? notices.map(({ value, at }) => ({ value, at })) : [];
  const token = needsToken ? session.token.value : null;
  if (conversations.length > 0 || shared.length > 0 || token !== null) send({ kind: 'answer', conversations, notices: shared, token });
}

function receive(message: HistoryMessage): void {
  if (message.kind === 'ask') return answer(message.peer, message.needsToken);
  for (const { peer, entries } of message.conversations) mergeHistory(conversationState(peer), entries);
  if (notices.length === 0) for (const { value, at } of message.notices) appendNotice(value, at, true);
  if (message.token !== null && session.token.value === null) void session.signInWithToken(message.token);
}

/** The tabs of a user hand their messages over to each other, and the token to a tab that has none. Nothing is stored. */
export function shareHistory(): void {
  watch(
    session.me,
    (me, _, onCleanup) => {
      if (me === null || !('BroadcastChannel' in globalThis)) return;
      const opened = new BroadcastChannel(`waystation.history ${me}`);
      channel = opened;
      opened.onmessage = ({ data }: MessageEvent<HistoryMessage>) => receive(data);
      onCleanup(() => {
        opened.close();
        channel = null;
      });
      askHistory(null);
    },
    { immediate: true, flush: 'sync' },
  );
}
