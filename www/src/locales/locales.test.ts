import { describe, expect, it } from 'vitest';
import { en } from './en';
import { en as extrasEn } from './extras/en';
import { zh as extrasZh } from './extras/zh';
import { en as operatorEn } from './operator/en';
import { zh as operatorZh } from './operator/zh';
import { zh } from './zh';

type Texts = Readonly<Record<string, string>>;

const places = (text = ''): string[] => (text.match(/\{\w+\}/g) ?? []).sort();

describe.each<[string, Texts, Texts]>([
  ['page', en, zh],
  ['operator page', operatorEn, operatorZh],
  ['parts that are loaded later', extrasEn, extrasZh],
])('the languages of the %s', (_, english, chinese) => {
  const keys = Object.keys(english);

  it('have the same keys with the same placeholders', () => {
    expect(Object.keys(chinese)).toEqual(keys);
    for (const key of keys) expect(places(chinese[key]), key).toEqual(places(english[key]));
  });

  it('have no empty text', () => {
    for (const key of keys) expect([english[key]?.trim() !== '', chinese[key]?.trim() !== ''], key).toEqual([true, true]);
  });
});

it('the texts that are loaded later redefine no text of the page', () => {
  expect(Object.keys({ ...operatorEn, ...extrasEn }).filter((key) => key in en)).toEqual([]);
});
