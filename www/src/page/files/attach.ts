import { shallowReactive } from 'vue';
import type { ConversationState, FileState } from '../conversation_store';
import { fileName, maxFileBytes, mediaType } from './format';
import { imageType, readPicture, startsWith, type ImageType, type Picture } from './picture';
import { makeFile, setContent } from './store';

/** The longest edge of an image that is sent, in pixels. */
const maxEdge = 1_600;
/** A larger PNG becomes a JPEG: it is probably a photo. */
const maxPngBytes = 600_000;

export const maxAttachments = 10;

/** Adds files to the draft. An image is made smaller first, without the camera's data and the location, if the browser can decode it. */
export async function attachFiles(state: ConversationState, files: readonly File[]): Promise<void> {
  const added = files.slice(0, Math.max(0, maxAttachments + 1 - state.attachments.length)).map((source) => ({ source, file: makeFile({ name: fileName(source.name), type: mediaType(source.type), size: source.size }) }));
  state.attachments.push(...added.map(({ file }) => file));
  // One after the other: an image of a camera needs much memory.
  for (const { source, file } of added) {
    const prepared = await prepare(source, file);
    // The user may have removed it meanwhile.
    const now = state.attachments.indexOf(file);
    if (now >= 0) state.attachments.splice(now, 1, now < maxAttachments ? prepared : shallowReactive({ ...file, problem: 'many' }));
  }
}

/** The file as it is sent, or with the problem that prevents it. */
async function prepare(source: File, file: FileState): Promise<FileState> {
  const fail = (problem: FileState['problem']): FileState => shallowReactive({ ...file, problem });
  try {
    if (source.size === 0) return fail('empty');
    // The bytes decide: a file may have any name and type.
    const start = await head(source, 16);
    const type = imageType(start);
    // A GIF may be an animation; a TIFF may have several pages, or be the raw data of a camera.
    const image = type === null || type === 'image/gif' || type === 'image/tiff' ? null : await shrink(source, type);
    if (image !== null) return whole({ name: withEnding(file.name, image.type), type: image.type, size: image.size }, image);
    if (source.size > maxFileBytes) return fail('large');
    const unchanged = await whole(file, source);
    unchanged.keepsMetadata = type !== null || startsWith(start, 'ftyp', 4) || /^(image|video)\//.test(file.type);
    return unchanged;
  } catch {
    // A folder, or a file that was removed meanwhile.
    return fail('unreadable');
  }
}

const head = async (file: Blob, bytes: number): Promise<Uint8Array> => new Uint8Array(await file.slice(0, bytes).arrayBuffer());

async function whole(description: { readonly name: string; readonly type: string; readonly size: number }, content: Blob): Promise<FileState> {
  const file = makeFile(description);
  setContent(file, new Uint8Array(await content.arrayBuffer()));
  return file;
}

function withEnding(name: string, type: string): string {
  const ending = type === 'image/jpeg' ? 'jpg' : type.slice('image/'.length);
  return fileName(`${name.replace(/\.(png|jpe?g|webp|avif|hei[cf]|tiff?)$/i, '')}.${ending}`);
}

/** The size at which both edges are short enough. */
export function fit({ width, height }: Pick<Picture, 'width' | 'height'>, edge: number): { readonly width: number; readonly height: number } {
  const scale = Math.min(1, edge / Math.max(width, height));
  return { width: Math.max(1, Math.round(width * scale)), height: Math.max(1, Math.round(height * scale)) };
}

/** The image, drawn anew so that nothing but its pixels is left. Null if the browser cannot decode it, as with an animation. */
async function shrink(source: File, type: ImageType): Promise<Blob | null> {
  if (isAnimated(await head(source, 64))) return null;
  let bitmap: ImageBitmap;
  try {
    bitmap = await createImageBitmap(source.slice(0, source.size, type === 'image/heif' ? source.type : type));
  } catch {
    return null;
  }
  try {
    for (let edge = maxEdge; edge >= 200; edge = Math.round(edge * 0.7)) {
      const { width, height } = fit(bitmap, edge);
      const canvas = document.createElement('canvas');
      canvas.width = width;
      canvas.height = height;
      const context = canvas.getContext('2d');
      if (context === null) return null;
      context.imageSmoothingQuality = 'high';
      const png = type === 'image/png' ? await draw(canvas, context, bitmap, 'image/png') : null;
      if (png !== null && png.size <= maxPngBytes) return png;
      const jpeg = await draw(canvas, context, bitmap, 'image/jpeg');
      if (jpeg !== null && jpeg.size <= maxFileBytes && readPicture(new Uint8Array(await jpeg.arrayBuffer())) !== null) return jpeg;
    }
    return null;
  } finally {
    bitmap.close();
  }
}

function draw(canvas: HTMLCanvasElement, context: CanvasRenderingContext2D, bitmap: ImageBitmap, type: string): Promise<Blob | null> {
  context.clearRect(0, 0, canvas.width, canvas.height);
  if (type === 'image/jpeg') {
    // A JPEG has no transparency.
    context.fillStyle = '#fff';
    context.fillRect(0, 0, canvas.width, canvas.height);
  }
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  return new Promise((resolve) => canvas.toBlob(resolve, type, 0.85));
}

/** Whether a WebP or PNG has more than one frame (RFC 9649, section 2.7.1.1; PNG, section 11.3.6.1). */
function isAnimated(bytes: Uint8Array): boolean {
  const head = String.fromCharCode(...bytes.subarray(0, 64));
  return (head.startsWith('RIFF') && head.slice(12, 16) === 'VP8X' && (bytes[20]! & 2) !== 0) || head.slice(33).includes('acTL');
}
