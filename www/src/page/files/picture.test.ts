import { describe, expect, it } from 'vitest';
import { imageType, readPicture } from './picture';

const of = (...parts: readonly (string | readonly number[])[]): Uint8Array<ArrayBuffer> =>
  Uint8Array.from(parts.flatMap((part) => (typeof part === 'string' ? [...part].map((character) => character.charCodeAt(0)) : part)));
const big16 = (n: number): number[] => [n >> 8, n & 255];
const little16 = (n: number): number[] => [n & 255, n >> 8];
const little24 = (n: number): number[] => [n & 255, (n >> 8) & 255, n >> 16];
const big32 = (n: number): number[] => [n >>> 24, (n >>> 16) & 255, (n >>> 8) & 255, n & 255];

const png = (width: number, height: number): Uint8Array<ArrayBuffer> => of('\x89PNG\r\n\x1a\n', big32(13), 'IHDR', big32(width), big32(height));
const gif = (width: number, height: number): Uint8Array<ArrayBuffer> => of('GIF89a', little16(width), little16(height));
const webp = (...chunk: readonly (string | readonly number[])[]): Uint8Array<ArrayBuffer> => of('RIFF', big32(0), 'WEBP', ...chunk);
const jpeg = (width: number, height: number): Uint8Array<ArrayBuffer> =>
  of([0xff, 0xd8], [0xff, 0xe0, ...big16(4), 1, 2], [0xff, 0xff, 0xc4, ...big16(3), 0], [0xff, 0xc2, ...big16(11), 8, ...big16(height), ...big16(width)]);

describe('an image is recognized by its bytes', () => {
  it.each([
    ['PNG', png(640, 480), 'image/png'],
    ['GIF', gif(640, 480), 'image/gif'],
    ['JPEG', jpeg(640, 480), 'image/jpeg'],
    ['WebP, extended', webp('VP8X', big32(0), big32(0), little24(639), little24(479)), 'image/webp'],
    ['WebP, lossy', webp('VP8 ', big32(0), [0, 0, 0], '\x9d\x01\x2a', little16(640 | 0x4000), little16(480)), 'image/webp'],
    ['WebP, lossless', webp('VP8L', big32(0), '\x2f', [...little24((639 | (479 << 14)) & 0xffffff), (479 << 14) >>> 24]), 'image/webp'],
  ])('%s', (_, bytes, type) => {
    expect(readPicture(bytes)).toEqual({ type, width: 640, height: 480 });
  });

  it.each([
    ['SVG', of('<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>')],
    ['HTML', of('<!doctype html><script>alert(1)</script>')],
    ['HTML after the beginning of a GIF', of('GIF8<script>alert(1)</script>')],
    ['a WebP of an unknown kind', webp('ANIM', big32(0), '\x2f', big32(0))],
    ['a lossless WebP without its signature', webp('VP8L', big32(0), big32(9), big32(9))],
    ['a JPEG without a frame header', of([0xff, 0xd8, 0xff, 0xda, 0, 3, 0])],
    ['nothing', of()],
  ])('%s is no image', (_, bytes) => {
    expect(readPicture(bytes)).toBe(null);
  });

  it.each([
    ['HEIF', of(big32(24), 'ftypheic'), 'image/heif'],
    ['AVIF', of(big32(24), 'ftypavif'), 'image/heif'],
    ['TIFF of a PC', of('II*\0', big32(0)), 'image/tiff'],
    ['TIFF of a Mac', of('MM\0*', big32(0)), 'image/tiff'],
    // 48 million pixels of a phone.
    ['JPEG that is too large to be shown', jpeg(8_064, 6_048), 'image/jpeg'],
    ['video', of(big32(24), 'ftypisom'), null],
    ['text', of('II, a text'), null],
    ['nothing', of(), null],
  ])('but never shown: %s', (_, bytes, type) => {
    expect([imageType(bytes), readPicture(bytes)]).toEqual([type, null]);
  });

  it('is no image if its header is cut off at any byte', () => {
    for (const whole of [png(640, 480), gif(640, 480), jpeg(640, 480)]) {
      for (let length = 0; length < whole.length; length += 1) expect(readPicture(whole.slice(0, length))).toBe(null);
      expect(readPicture(whole)).not.toBe(null);
    }
  });

  it('is not shown if it is too large for the memory, or empty', () => {
    expect(readPicture(png(4_000, 6_000))).not.toBe(null);
    expect(readPicture(png(4_001, 6_000))).toBe(null);
    expect(readPicture(png(8_193, 1))).toBe(null);
    expect(readPicture(jpeg(65_535, 65_535))).toBe(null);
    expect(readPicture(gif(0, 10))).toBe(null);
  });
});
