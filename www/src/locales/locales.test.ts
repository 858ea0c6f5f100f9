import { describe, expect, it } from 'vitest';
import { en, type TextKey } from './en';
import { zh } from './zh';

const keys = Object.keys(en) as TextKey[];
const places = (text: string): string[] => (text.match(/\{\w+\}/g) ?? []).sort();

describe('the languages', () => {
  it('have the same keys with the same placeholders', () => {
    expect(Object.keys(zh)).toEqual(keys);
    for (const key of keys) expect(places(zh[key]), key).toEqual(places(en[key]));
  });

  it('have no empty text', () => {
    for (const key of keys) expect([en[key].trim() !== '', zh[key].trim() !== ''], key).toEqual([true, true]);
  });
});
