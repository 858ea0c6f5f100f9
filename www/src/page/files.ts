import type { ConversationState } from './conversation_store';
import type { AddMessage, Received } from './files/receive';
import type { SendFile } from './files/send';
import { lazyModule } from './lazy';
import { SendError } from '../waystation';

/** Files in conversations. Their code is not part of the first load. */

const extras = lazyModule(() => import('../extras'));

/** Handles one message of a file, with `receiveFile` of `files/receive`. The messages keep their order. */
export function receiveFile(add: AddMessage, state: ConversationState, received: Received, own: boolean): void {
  void extras().then((module) => module?.receiveFile(add, state, received, own));
}

let sender: SendFile | null = null;

export const sendFile: SendFile = async (send, entry, onBegin) => {
  const module = await extras();
  sender ??= module?.createFileSender() ?? null;
  if (sender === null) throw new SendError('closed', 'not_sent', 'file: not sent; a part of the page could not be loaded');
  return sender(send, entry, onBegin);
};

/** Adds files to the draft of a conversation. */
export async function attachFiles(state: ConversationState, files: readonly File[]): Promise<void> {
  if (files.length > 0) await (await extras())?.attachFiles(state, files);
}
