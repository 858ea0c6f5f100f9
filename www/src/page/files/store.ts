import { shallowReactive } from 'vue';
import { conversationList, entriesOf, type Entry, type FileState } from '../conversation_store';
import type { FileDescription } from './format';
import { readPicture } from './picture';

/** All whole files of a tab together. The oldest ones are removed beyond that. */
export const maxKeptBytes = 64 * 1024 * 1024;

export function makeFile({ name, type, size }: FileDescription): FileState {
  return shallowReactive({ name, type, size, done: 0, content: null, picture: null, keepsMetadata: false, problem: null, cancel: null });
}

export const allEntries = (): readonly Entry[] => conversationList.value.flatMap(entriesOf);

/**
 * The bytes of a file become its content. Its type is that of an image which the bytes prove, and otherwise the type that
 * no browser shows. A blob is a part of the page's origin, so that HTML or SVG in it could run scripts.
 */
export function setContent(file: FileState, bytes: Uint8Array<ArrayBuffer>): void {
  const picture = readPicture(bytes);
  file.picture = picture;
  file.content = new Blob([bytes], { type: picture?.type ?? 'application/octet-stream' });
}

/** Removes the content of the oldest files if all are too large together. */
export function releaseOldFiles(): void {
  const kept = allEntries()
    .filter(({ file }) => file !== null && file.content !== null && file.cancel === null)
    .sort((a, b) => b.at - a.at);
  let bytes = 0;
  for (const { file } of kept) {
    if (file === null) continue;
    bytes += file.size;
    if (bytes <= maxKeptBytes) continue;
    file.content = null;
    file.problem = 'released';
  }
}
