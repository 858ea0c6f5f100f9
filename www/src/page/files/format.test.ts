import { describe, expect, it } from 'vitest';
import { fileName, maxFileBytes, mediaType, partBytes, readFileMessage, writeCanceled, writePart } from './format';
import { encodeMessage } from '../../waystation/protocol';

const bytes = Uint8Array.from({ length: 91_000 }, (_, n) => (n * 7) % 256);
const file = { name: 'disk.log', type: 'text/plain', size: bytes.length };

describe('the messages of a file', () => {
  it('carry its description, and its bytes in parts', () => {
    expect(readFileMessage(writePart('f1', file, bytes, 0, partBytes))).toEqual({ kind: 'begin', id: 'f1', ...file, data: bytes.slice(0, partBytes) });
    expect(readFileMessage(writePart('f1', file, bytes, partBytes, 2 * partBytes))).toEqual({ kind: 'part', id: 'f1', offset: partBytes, data: bytes.slice(partBytes, 2 * partBytes) });
    expect(readFileMessage(writeCanceled('f1'))).toEqual({ kind: 'canceled', id: 'f1' });
  });

  it('fit the default of max_message_bytes, with the longest names', () => {
    const longest = { name: '\u{1f4ce}'.repeat(120), type: `a/${'b'.repeat(125)}`, size: maxFileBytes };
    const frame = encodeMessage(writePart('w'.repeat(64), longest, new Uint8Array(partBytes), 0, partBytes), 'u'.repeat(64), 'm'.repeat(64));
    expect(new TextEncoder().encode(frame).length).toBeLessThan(65_536);
  });

  const first = { id: 'f1', name: 'a', type: 'text/plain', size: 3, offset: 0, data: 'AAAA' };

  it.each([
    ['no object', { file: 'f1' }],
    ['no id', { file: { ...first, id: undefined } }],
    ['an id that is none', { file: { ...first, id: '<f1>' } }],
    ['another message', { text: 'file' }],
    ['a text', 'file'],
  ])('are recognized by their id: %s', (_, value) => {
    expect(readFileMessage(value)).toBe(null);
  });

  it.each([
    ['more bytes than its size', { size: 2 }],
    ['a size that is too large', { size: maxFileBytes + 1 }],
    ['a negative size', { size: -1 }],
    ['a broken size', { size: 2.5 }],
    ['no size', { size: undefined }],
    ['a negative offset', { offset: -3 }],
    ['an offset that is a text', { offset: '0' }],
    ['an offset that is no safe number', { offset: 2 ** 60 }],
    ['no name', { name: null }],
    ['no bytes', { data: '' }],
    ['bytes that are not base64', { data: 'AA-A' }],
    ['base64 without its padding', { data: 'AAA' }],
    ['padding within base64', { data: 'A==A' }],
  ])('are invalid with %s', (_, change) => {
    expect(readFileMessage({ file: { ...first, ...change } })).toEqual({ kind: 'invalid', id: 'f1' });
  });

  it('have a media type that is unknown rather than wrong', () => {
    expect(['image/PNG', 'text/html; charset=utf-8', '', 7, 'a/b'.padEnd(200, 'c')].map(mediaType)).toEqual([
      'image/png', ...Array.from({ length: 4 }, () => 'application/octet-stream'),
    ]);
  });
});

describe('the name of a file', () => {
  it.each([
    ['report.pdf', 'report.pdf'],
    ['../../etc/passwd', '_.._etc_passwd'],
    ['C:\\boot.ini', 'C__boot.ini'],
    ['.bashrc', 'bashrc'],
    ['invoice\u202egpj.exe', 'invoice_gpj.exe'],
    ['a\u0000b\nc', 'a_b_c'],
    ['\ud800', '_'],
    ['  ', 'file'],
    ['', 'file'],
    ['图片.png', '图片.png'],
  ])('%j is shown as %s', (given, shown) => {
    expect(fileName(given)).toBe(shown);
  });

  it('keeps its ending when it is shortened', () => {
    const short = fileName(`${'x'.repeat(300)}.tar.gz`);
    expect([...short].length).toBe(120);
    expect(short.endsWith('x….gz')).toBe(true);
  });
});
