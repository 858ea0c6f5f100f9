import { describe, expect, it } from 'vitest';
import { contentText, previewText, quoteOf, readContent, splitText } from './content';

const links = (text: string): (string | undefined)[] => splitText(text).filter(({ kind }) => kind === 'link').map(({ href }) => href);

describe('content', () => {
  it('is a text, or an object with title, text and url', () => {
    expect(readContent('hello')).toEqual({ title: null, text: 'hello', url: null, hasMore: false });
    expect(readContent({ text: 'hello' })).toEqual({ title: null, text: 'hello', url: null, hasMore: false });
    const notice = { title: 'Backup', text: '42 GB', url: 'https://backup.example/7' };
    expect(readContent(notice)).toEqual({ ...notice, hasMore: false });
    expect([notice, { title: 'Backup' }, { text: '42 GB' }, '<b>"', ''].map(contentText)).toEqual(['Backup — 42 GB', 'Backup', '42 GB', '<b>"', '']);
  });

  it('is JSON otherwise', () => {
    for (const value of [null, 7, false, [], ['text'], {}, { text: 7 }, { text: '' }, { disk: 'full' }, { url: 'https://a.example' }]) {
      expect(readContent(value), JSON.stringify(value)).toEqual({ title: null, text: null, url: null, hasMore: true });
      expect(contentText(value)).toBe(JSON.stringify(value));
    }
  });

  it('has a preview without quotes and marks of code', () => {
    expect(previewText('> Shall I?\n> Today?\nYes, with `run.sh`.')).toBe('Yes, with run.sh.');
    expect(previewText({ text: 'The log:\n```\nok\n```' })).toBe('The log:\n\nok');
    expect(['> only a quote', '5 > 4', ''].map(previewText)).toEqual(['> only a quote', '5 > 4', '']);
  });

  it('hides no other member', () => {
    expect(readContent({ text: 'hello', reply: 'm1' }).hasMore).toBe(true);
    expect(readContent({ text: 'hello', title: 7 }).hasMore).toBe(true);
    expect(readContent({ text: 'hello', url: 'javascript:alert(1)' })).toMatchObject({ url: null, hasMore: true });
  });
});

describe('a text', () => {
  it.each([
    ['https://a.example', ['https://a.example/']],
    ['See https://a.example/b?c=d#e, or (http://b.example/x).', ['https://a.example/b?c=d#e', 'http://b.example/x']],
    ['https://a.example/wiki/Relay_(disambiguation)', ['https://a.example/wiki/Relay_(disambiguation)']],
    ['见 https://a.example/路径。还有', ['https://a.example/%E8%B7%AF%E5%BE%84']],
    ['javascript:alert(1) data:text/html,x file:///etc/passwd ftp://a.example //a.example', []],
    ['https://bank.example@evil.example/', []],
    ['https://', []],
    ['`https://a.example`', []],
    ['https://a.example/\u202Egnp.exe', ['https://a.example/']],
  ])('has the links of %s', (text, expected) => {
    expect(links(text)).toEqual(expected);
  });

  it('has code spans', () => {
    expect(splitText('run `make -j2`, then\n```\na\nb\n```\ndone')).toEqual([
      { kind: 'text', text: 'run ' },
      { kind: 'code', text: 'make -j2' },
      { kind: 'text', text: ', then\n' },
      { kind: 'block', text: 'a\nb' },
      { kind: 'text', text: '\ndone' },
    ]);
    expect(splitText('a ` b\nand ``')).toEqual([{ kind: 'text', text: 'a ` b\nand ``' }]);
  });

  it('has quotes', () => {
    expect(splitText('> one\n> https://a.example\nanswer > not a quote')).toEqual([
      { kind: 'quote', text: 'one\nhttps://a.example' },
      { kind: 'text', text: 'answer > not a quote' },
    ]);
    expect(splitText('before\n> quoted').map(({ kind }) => kind)).toEqual(['text', 'quote']);
    expect(quoteOf('> older\none\ntwo')).toBe('> one\n> two\n');
    expect(quoteOf('a\nb\nc\nd')).toBe('> a\n> b\n> c…\n');
    expect(quoteOf('x'.repeat(1_000)).length).toBeLessThan(250);
  });

  it('is split in time proportional to its length', () => {
    for (const text of ['`'.repeat(65_000), '```'.repeat(20_000), '```a'.repeat(16_000), '> \n'.repeat(16_000), 'http://'.repeat(9_000), `https://a.example/${'('.repeat(65_000)}`, `https://a.example/${')'.repeat(65_000)}`]) {
      const parts = splitText(text);
      expect(parts.length).toBeLessThan(20_000);
    }
  });
});
