import { File } from 'node:buffer';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { clearConversations, conversationState, type FileState } from '../conversation_store';
import { attachFiles } from './attach';

const bytes = (text: string): Uint8Array => Uint8Array.from(text, (character) => character.charCodeAt(0));
const location = 'LOCATION 48.137 N 11.575 E';
const jpeg = `\xff\xd8\xff\xc0\0\x0b\x08\0\x08\0\x08${location}`;
const drawn = `\xff\xd8\xff\xc0\0\x0b\x08\0\x08\0\x08`;
const animatedPng = `\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR${'\0'.repeat(17)}\0\0\0\x08acTL${location}`;

/** The types that the browser decodes. */
let decodes: RegExp;
beforeEach(() => {
  decodes = /^image\/(jpeg|png|webp)$/;
  vi.stubGlobal('createImageBitmap', async ({ type }: Blob) => {
    if (!decodes.test(type)) throw new DOMException('it cannot be decoded', 'InvalidStateError');
    return { width: 8, height: 8, close: () => {} };
  });
  const context = { clearRect: () => {}, fillRect: () => {}, drawImage: () => {} };
  const canvas = { getContext: () => context, toBlob: (resolve: (blob: Blob) => void) => resolve(new Blob([bytes(drawn)], { type: 'image/jpeg' })) };
  vi.stubGlobal('document', { createElement: () => canvas });
});
afterEach(() => {
  clearConversations();
  vi.unstubAllGlobals();
});

async function attach(name: string, type: string, content: string): Promise<FileState> {
  const state = conversationState('bob');
  await attachFiles(state, [new File([bytes(content)], name, { type }) as unknown as globalThis.File]);
  return state.attachments[0]!;
}
const textOf = async ({ content }: FileState): Promise<string> => Buffer.from(await content!.arrayBuffer()).toString('latin1');

it.each([
  ['photo.jpeg', 'image/jpeg'],
  ['photo.jpeg', ''],
  ['photo', 'application/octet-stream'],
  ['photo.gif', 'image/gif'],
  ['photo.heic', 'image/heic'],
  ['photo.txt', 'text/plain'],
])('a photo loses its location, whatever its name and type say: %s %s', async (name, type) => {
  const file = await attach(name, type, jpeg);
  expect(await textOf(file)).toBe(drawn);
  expect([file.type, file.keepsMetadata]).toEqual(['image/jpeg', false]);
  expect(file.name).toMatch(/^photo.*\.jpg$/);
});

it.each([
  ['a photo that the browser cannot decode', 'photo.heic', 'image/heic', `\0\0\0\x18ftypheic${location}`],
  ['the same without a type', 'photo', '', `\0\0\0\x18ftypavif${location}`],
  ['a raw photo', 'photo.dng', '', `II*\0${location}`],
  ['a TIFF, which may have more pages', 'fax.tif', 'image/tiff', `MM\0*${location}`],
  ['an animation', 'moving.gif', '', `GIF89a${location}`],
  ['an animated PNG', 'moving.png', 'image/png', animatedPng],
  ['an image of an unknown kind', 'photo.jxl', 'image/jxl', location],
  ['a video', 'film.mp4', 'video/mp4', location],
  ['a video without a type', 'film', '', `\0\0\0\x18ftypisom${location}`],
])('the user is told that an image keeps its metadata: %s', async (_, name, type, content) => {
  decodes = /^image\/(jpeg|png|webp|tiff)$/;
  const file = await attach(name, type, content);
  expect(await textOf(file)).toBe(content);
  expect([file.name, file.problem, file.keepsMetadata]).toEqual([name, null, true]);
});

it('a photo that only some browsers decode loses its location there', async () => {
  decodes = /^image\/hei[cf]$/;
  const file = await attach('photo.heic', 'image/heic', `\0\0\0\x18ftypheic${location}`);
  expect([file.name, await textOf(file), file.keepsMetadata]).toEqual(['photo.jpg', drawn, false]);
});

it('another file is sent as it is', async () => {
  const file = await attach('notes.txt', 'text/plain', 'notes');
  expect([file.name, await textOf(file), file.keepsMetadata]).toEqual(['notes.txt', 'notes', false]);
});
