/** An image that is safe to show. */
export interface Picture {
  readonly type: 'image/png' | 'image/jpeg' | 'image/gif' | 'image/webp';
  readonly width: number;
  readonly height: number;
}

/** The largest image that is shown: a small file can hold an image that needs gigabytes of memory. */
const maxPixels = 24_000_000;
const maxEdge = 8_192;

/** The page never shows the last two. It sends the first of them as JPEG if the browser can decode it. */
export type ImageType = Picture['type'] | 'image/heif' | 'image/tiff';

/**
 * The type of an image by its own first 16 bytes, whatever its name or sender says. Null for other files. `image/heif`
 * includes AVIF and excludes image sequences (ISO/IEC 23008-12, section 10); `image/tiff` includes the raw formats of cameras.
 */
export function imageType(bytes: Uint8Array): ImageType | null {
  if (startsWith(bytes, '\x89PNG\r\n\x1a\n')) return 'image/png';
  if (startsWith(bytes, '\xff\xd8\xff')) return 'image/jpeg';
  if (startsWith(bytes, 'GIF87a') || startsWith(bytes, 'GIF89a')) return 'image/gif';
  if (startsWith(bytes, 'RIFF') && startsWith(bytes, 'WEBP', 8)) return 'image/webp';
  if (startsWith(bytes, 'ftyp', 4) && ['heic', 'heix', 'mif1', 'avif'].some((brand) => startsWith(bytes, brand, 8))) return 'image/heif';
  return startsWith(bytes, 'II*\0') || startsWith(bytes, 'MM\0*') ? 'image/tiff' : null;
}

/**
 * Type and size of an image by its own first bytes, whatever its sender says. Null for other files, for damaged ones, and
 * for images that are too large to be shown. No other type becomes an image: SVG and HTML can contain scripts.
 */
export function readPicture(bytes: Uint8Array<ArrayBuffer>): Picture | null {
  const type = imageType(bytes);
  if (type === null || type === 'image/heif' || type === 'image/tiff') return null;
  try {
    const { width, height } = readSize[type](bytes) ?? { width: 0, height: 0 };
    return width > 0 && height > 0 && width <= maxEdge && height <= maxEdge && width * height <= maxPixels ? { type, width, height } : null;
  } catch {
    // RangeError: the file ends in its header.
    return null;
  }
}

type Size = Pick<Picture, 'width' | 'height'>;

const view = (bytes: Uint8Array<ArrayBuffer>): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

export function startsWith(bytes: Uint8Array, text: string, at = 0): boolean {
  return [...text].every((character, n) => bytes[at + n] === character.charCodeAt(0));
}

/** PNG specification, third edition, sections 5.2 and 11.2.1. */
function readPng(bytes: Uint8Array<ArrayBuffer>): Size | null {
  if (!startsWith(bytes, 'IHDR', 12)) return null;
  const data = view(bytes);
  return { width: data.getUint32(16), height: data.getUint32(20) };
}

/** GIF89a, section 18. */
function readGif(bytes: Uint8Array<ArrayBuffer>): Size | null {
  const data = view(bytes);
  return { width: data.getUint16(6, true), height: data.getUint16(8, true) };
}

/** RFC 9649, sections 2.5 to 2.7. */
function readWebp(bytes: Uint8Array<ArrayBuffer>): Size | null {
  const data = view(bytes);
  if (startsWith(bytes, 'VP8X', 12)) {
    const three = (at: number): number => data.getUint16(at, true) + (data.getUint8(at + 2) << 16) + 1;
    return { width: three(24), height: three(27) };
  }
  if (startsWith(bytes, 'VP8 ', 12) && startsWith(bytes, '\x9d\x01\x2a', 23)) {
    return { width: data.getUint16(26, true) & 0x3fff, height: data.getUint16(28, true) & 0x3fff };
  }
  if (startsWith(bytes, 'VP8L', 12) && bytes[20] === 0x2f) {
    const bits = data.getUint32(21, true);
    return { width: (bits & 0x3fff) + 1, height: ((bits >>> 14) & 0x3fff) + 1 };
  }
  return null;
}

/** ITU-T T.81, sections B.1.1 and B.2.2: the segments up to the frame header. */
function readJpeg(bytes: Uint8Array<ArrayBuffer>): Size | null {
  const data = view(bytes);
  for (let at = 2; data.getUint8(at) === 0xff; ) {
    const marker = data.getUint8(at + 1);
    if (marker === 0xff) {
      at += 1;
      continue;
    }
    // SOF0 to SOF15, except DHT, JPG and DAC.
    if (marker >= 0xc0 && marker <= 0xcf && marker !== 0xc4 && marker !== 0xc8 && marker !== 0xcc) {
      return { width: data.getUint16(at + 7), height: data.getUint16(at + 5) };
    }
    // The image data begins without a frame header.
    if (marker === 0xda || marker === 0xd9) return null;
    at += 2 + data.getUint16(at + 2);
  }
  return null;
}

const readSize: Readonly<Record<Picture['type'], (bytes: Uint8Array<ArrayBuffer>) => Size | null>> = {
  'image/png': readPng,
  'image/jpeg': readJpeg,
  'image/gif': readGif,
  'image/webp': readWebp,
};
