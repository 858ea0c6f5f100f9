import type { ConversationState, Entry } from '../conversation_store';
import { newMessageId, SendError, type Ack } from '../../waystation';
import { partBytes, writeCanceled, writePart } from './format';
import { releaseOldFiles } from './store';

/** Between two parts of the tab, in milliseconds: less than half of the default of `messages_per_second`, so that messages still pass. */
const pauseMs = 50;
const minPartBytes = 300;
const maxTries = 8;

/**
 * Sends the file of an entry in parts. Each part waits for the acknowledgement of the one before. Resolves with the
 * acknowledgement of the last part, or of the first one that reached nobody. Rejects with a SendError. `onBegin` runs
 * before the first part is sent, and before it is sent again.
 */
export type SendFile = (state: ConversationState, send: Send, entry: Entry, onBegin: () => void) => Promise<Ack>;

export type Send = (message: unknown, id: string) => Promise<Ack>;

const canceled = (): SendError => new SendError('canceled', 'not_sent', 'file: canceled');

/**
 * Sends the files of a tab: those of a conversation one after the other, so that no receiver has to store many incomplete
 * ones. A file that waits for its receiver delays no other conversation.
 */
export function createFileSender(): SendFile {
  const turns = new WeakMap<ConversationState, Promise<unknown>>();
  const shared: Shared = { partBytes, nextPart: Promise.resolve() };
  return async (state, send, entry, onBegin) => {
    const { file } = entry;
    const content = file?.content;
    if (!file || !content) throw new SendError('closed', 'not_sent', 'file: not sent; this tab has it no longer');
    const stop = makeStop();
    file.problem = null;
    file.done = 0;
    file.cancel = stop.request;
    const turn = turns.get(state);
    const done = (async () => {
      await Promise.race([turn, stop.requested]);
      return sendParts(send, onBegin, entry, new Uint8Array(await content.arrayBuffer()), stop, shared);
    })();
    turns.set(state, Promise.allSettled([turn, done]).then(() => {}));
    try {
      return await done;
    } finally {
      file.cancel = null;
      releaseOldFiles();
    }
  };
}

/** What the files of a tab share. */
interface Shared {
  /** The parts get smaller when the server refuses one. It closes the connection each time. */
  partBytes: number;
  /** The server's rate is that of a user: the conversations take turns. */
  nextPart: Promise<void>;
}

interface Stop {
  isRequested: boolean;
  readonly requested: Promise<void>;
  readonly request: () => void;
}

function makeStop(): Stop {
  let resolve = (): void => {};
  const requested = new Promise<void>((done) => (resolve = done));
  const stop: Stop = {
    isRequested: false,
    requested,
    request() {
      stop.isRequested = true;
      resolve();
    },
  };
  return stop;
}

async function pause(ms: number, stop: Stop): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  await Promise.race([new Promise((resolve) => (timer = setTimeout(resolve, ms))), stop.requested]);
  clearTimeout(timer);
}

async function sendParts(send: Send, onBegin: () => void, entry: Entry, bytes: Uint8Array, stop: Stop, shared: Shared): Promise<Ack> {
  const file = entry.file!;
  const id = entry.id ?? newMessageId();
  let tries = 0;
  for (let offset = 0; ; ) {
    if (stop.isRequested) {
      if (offset > 0 || tries > 0) send(writeCanceled(id), `${id}-end`).catch(() => {});
      throw canceled();
    }
    const end = Math.min(offset + shared.partBytes, file.size);
    if (offset === 0) onBegin();
    try {
      const part = send(writePart(id, file, bytes, offset, end), offset === 0 ? id : `${id}-${offset}`);
      const ack = await Promise.race([part, stop.requested]);
      if (ack === undefined) {
        tries += 1;
        continue;
      }
      if (ack.route === 'none') return ack;
      // The first part may have waited for the receiver.
      entry.status = 'sending';
      offset = end;
      file.done = end;
      if (end === file.size) return ack;
      tries = 0;
      shared.nextPart = shared.nextPart.then(() => pause(pauseMs, stop));
      await Promise.race([shared.nextPart, stop.requested]);
    } catch (error) {
      tries += 1;
      if (!(error instanceof SendError) || tries > maxTries) throw error;
      if (error.code === 'too_large' && shared.partBytes > minPartBytes) {
        // The server's limit is below its default. Base64 encodes three bytes at a time.
        shared.partBytes = Math.floor(shared.partBytes / 12) * 3;
        tries = 1;
      } else if (error.code === 'rate_limited' || error.code === 'unavailable') {
        await pause(500 * 2 ** tries, stop);
      } else if (error.outcome !== 'unknown') {
        // A part that may have arrived is sent again: the receiver ignores the repetition.
        throw error;
      }
    }
  }
}
