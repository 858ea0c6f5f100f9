/** The messages of a file: PROTOCOL.md, "Files". */

/** The largest file that the page sends or accepts. */
export const maxFileBytes = 2 * 1024 * 1024;

/** The bytes of one part. In base64 and with its envelope, a part is smaller than the default of `max_message_bytes`. */
export const partBytes = 45_000;

export type FileMessage =
  /** The first part, which describes the file. */
  | { readonly kind: 'begin'; readonly id: string; readonly name: string; readonly type: string; readonly size: number; readonly data: Uint8Array<ArrayBuffer> }
  | { readonly kind: 'part'; readonly id: string; readonly offset: number; readonly data: Uint8Array<ArrayBuffer> }
  | { readonly kind: 'canceled'; readonly id: string }
  /** It names a file, and breaks a rule. */
  | { readonly kind: 'invalid'; readonly id: string };

export interface FileDescription {
  readonly name: string;
  readonly type: string;
  readonly size: number;
}

const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;

/** The media type without parameters, or the one of unknown bytes. */
export const mediaType = (text: unknown): string =>
  typeof text === 'string' && text.length <= 127 && /^[\w.+-]+\/[\w.+-]+$/.test(text) ? text.toLowerCase() : 'application/octet-stream';

/**
 * A name that is safe to show and to save: no path, no control or invisible characters, at most 120 characters. Invisible
 * characters can reverse the text, so that `exe.gpj` looks like `jpg.exe`.
 */
export function fileName(text: string): string {
  const clean = text.replace(/[/\\:*?"<>|\p{Cc}\p{Cf}\p{Cs}\u2028\u2029]/gu, '_').replace(/^[.\s]+|[.\s]+$/g, '');
  if (clean === '') return 'file';
  const letters = [...clean];
  if (letters.length <= 120) return clean;
  const dot = letters.lastIndexOf('.');
  const ending = dot > 0 && letters.length - dot <= 12 ? letters.slice(dot) : [];
  return [...letters.slice(0, 119 - ending.length), '…', ...ending].join('');
}

function encode(bytes: Uint8Array): string {
  let binary = '';
  // Function arguments are limited.
  for (let at = 0; at < bytes.length; at += 8_192) binary += String.fromCharCode(...bytes.subarray(at, at + 8_192));
  return btoa(binary);
}

/** Null if the text is not base64 with padding (RFC 4648, section 4), or is empty. */
function decode(text: unknown): Uint8Array<ArrayBuffer> | null {
  if (typeof text !== 'string' || text === '' || text.length % 4 !== 0 || !/^[A-Za-z0-9+/]+={0,2}$/.test(text)) return null;
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let n = 0; n < binary.length; n += 1) bytes[n] = binary.charCodeAt(n);
  return bytes;
}

/** The message with the part of a file at `offset`. `bytes`: the whole file. */
export function writePart(id: string, { name, type, size }: FileDescription, bytes: Uint8Array, offset: number, end: number): unknown {
  const data = encode(bytes.subarray(offset, end));
  return { file: offset === 0 ? { id, name, type, size, offset, data } : { id, offset, data } };
}

export const writeCanceled = (id: string): unknown => ({ file: { id, canceled: true } });

/** Null if the value names no file. */
export function readFileMessage(value: unknown): FileMessage | null {
  if (typeof value !== 'object' || value === null || !('file' in value)) return null;
  const { file } = value;
  if (typeof file !== 'object' || file === null) return null;
  const { id, name, type, size, offset, data, canceled } = file as Record<string, unknown>;
  if (typeof id !== 'string' || !/^[A-Za-z0-9_-]{1,64}$/.test(id)) return null;
  if (canceled === true) return { kind: 'canceled', id };
  const bytes = decode(data);
  if (bytes === null || !isCount(offset)) return { kind: 'invalid', id };
  if (offset > 0) return { kind: 'part', id, offset, data: bytes };
  if (typeof name !== 'string' || !isCount(size) || size > maxFileBytes || bytes.length > size) return { kind: 'invalid', id };
  return { kind: 'begin', id, name: fileName(name), type: mediaType(type), size, data: bytes };
}
