import { fileLabel } from './content';
import type { ConversationState } from './conversation_store';
import type { AddMessage, Received } from './files/receive';
import type { SendFile } from './files/send';
import { t } from './i18n';
import { lazyModule } from './lazy';
import { SendError } from '../waystation';

/** Files in conversations. Their code is not part of the first load. */

const extras = lazyModule(() => import('../extras'));

let loaded: Awaited<ReturnType<typeof extras>> = null;
/** Messages that wait for the code, in the order of their arrival. */
const waiting: (() => void)[] = [];

/** Handles one message of a file, with `receiveFile` of `files/receive`. Without that code, a text stands for the file. */
export function receiveFile(add: AddMessage, state: ConversationState, received: Received, own: boolean): void {
  const receive = (): void => {
    if (loaded !== null) return loaded.receiveFile(add, state, received, own);
    const { file } = received.message as { readonly file: { readonly offset?: unknown; readonly canceled?: unknown } | null };
    // The first part stands for the others, and for their end.
    if (!file?.offset && !file?.canceled) add(state, { ...received, message: fileLabel(t('app.loadFailed')) }, own);
  };
  if (loaded !== null) return receive();
  waiting.push(receive);
  if (waiting.length > 1) return;
  void extras().then((module) => {
    loaded = module;
    for (const run of waiting.splice(0)) run();
  });
}

/** Handles another message, after the files before it. */
export function afterFiles(run: () => void): void {
  if (waiting.length > 0) waiting.push(run);
  else run();
}

let sender: SendFile | null = null;

export const sendFile: SendFile = async (...file) => {
  const module = await extras();
  sender ??= module?.createFileSender() ?? null;
  if (sender === null) throw new SendError('closed', 'not_sent', 'file: not sent; a part of the page could not be loaded');
  return sender(...file);
};

/** Adds files to the draft of a conversation. */
export async function attachFiles(state: ConversationState, files: readonly File[]): Promise<void> {
  if (files.length > 0) await (await extras())?.attachFiles(state, files);
}
