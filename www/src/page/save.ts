import { contentText } from './content';
import { entriesOf, type ConversationState } from './conversation_store';
import { download } from './download';
import { t } from './extras/texts';

/** Local time that sorts, such as 2026-11-28 22:24:05. */
const time = (at: number): string => new Date(at).toLocaleString('sv-SE');

/** A conversation as text: a line for each message, with time and sender, and the state of a message that did not arrive. */
export function conversationText(me: string, conversation: ConversationState, now: number): string {
  const { peer } = conversation;
  const lines = [t('save.title', { me, peer, time: time(now) }), ''];
  for (const { own, value, at, status } of entriesOf(conversation)) {
    // Continued lines are indented, so that no message can look like another one.
    const text = contentText(value).replace(/\r\n?|[\n\u2028\u2029]/g, '\n    ');
    const lost = status === 'none' || status === 'failed' || status === 'unknown' || status === 'queued' || status === 'held';
    lines.push(`${time(at)}  ${own ? me : peer}: ${text}${lost ? ` (${t(`status.${status}`)})` : ''}`);
  }
  return `${lines.join('\n')}\n`;
}

export function saveConversation(me: string, conversation: ConversationState): void {
  const now = Date.now();
  download(`waystation-${conversation.peer}-${time(now).slice(0, 10)}.txt`, new Blob([conversationText(me, conversation, now)], { type: 'text/plain;charset=utf-8' }));
}
