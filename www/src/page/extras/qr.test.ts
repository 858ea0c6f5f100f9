import { describe, expect, it } from 'vitest';
import { isLocalAddress, qrCode } from './qr';

/** The format information next to the upper left finder pattern (ISO/IEC 18004, section 7.9), without its mask. */
function errorCorrection(path: string, border: number): number {
  const dark = (x: number, y: number): number => (path.includes(`M${x + border} ${y + border}h`) ? 1 : 0);
  return ((dark(0, 8) << 1) | dark(1, 8)) ^ 0b10;
}

describe('a QR code', () => {
  const { size, path } = qrCode('https://chat.example/#/with/alice');

  it('has finder patterns, a quiet zone of four modules, and error correction level M', () => {
    // Version 3 has 29 modules.
    expect(size).toBe(29 + 8);
    const dark = (x: number, y: number): boolean => path.includes(`M${x} ${y}h1v1h-1z`);
    for (const [left, top] of [[4, 4], [size - 11, 4], [4, size - 11]] as const) {
      const row = (y: number): string => Array.from({ length: 7 }, (_, x) => (dark(left + x, top + y) ? '#' : '.')).join('');
      expect([0, 1, 2, 3, 4, 5, 6].map(row)).toEqual(['#######', '#.....#', '#.###.#', '#.###.#', '#.###.#', '#.....#', '#######']);
    }
    for (let n = 0; n < size; n += 1) for (const edge of [0, 3, size - 4, size - 1]) expect([dark(n, edge), dark(edge, n)]).toEqual([false, false]);
    expect(errorCorrection(path, 4)).toBe(0);
  });

  it('differs for another text', () => {
    expect(qrCode('https://chat.example/#/with/bob').path).not.toBe(path);
  });

  it('holds the longest address', () => {
    expect(qrCode(`https://${'a'.repeat(63)}.example/a/folder/#/with/${'b'.repeat(64)}`).size).toBeGreaterThan(37);
  });
});

it.each([
  ['http://127.0.0.1:8080/#/with/alice', true],
  ['http://localhost/', true],
  ['http://chat.localhost:81/', true],
  ['http://[::1]:8080/', true],
  ['http://192.168.1.7:8080/', false],
  ['https://chat.example/', false],
])('%s is of this machine: %s', (address, local) => {
  expect(isLocalAddress(address)).toBe(local);
});
