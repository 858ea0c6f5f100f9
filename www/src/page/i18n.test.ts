import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { shallowRef } from 'vue';
import { closedText, failureText, tokenMayHelp } from './failure';
import { fill, formatDay, setLanguage } from './i18n';
import type { ClosedReason } from '../waystation';

// A time zone with clock changes.
process.env.TZ = 'Europe/Berlin';

// The preferences need a browser.
vi.mock('./preferences', () => ({ locale: shallowRef('en') }));

beforeEach(async () => {
  await setLanguage('en');
  vi.stubGlobal('navigator', { languages: ['en-GB'] });
});

afterEach(() => {
  vi.unstubAllGlobals();
});

describe('formatDay', () => {
  const at = (text: string): number => new Date(text).getTime();

  it('is based on calendar days, not on hours', async () => {
    const now = at('2026-03-02T00:30');
    expect(formatDay(at('2026-03-02T00:00'), now)).toBe('Today');
    expect(formatDay(at('2026-03-01T23:59'), now)).toBe('Yesterday');
    expect(formatDay(at('2026-03-01T00:00'), now)).toBe('Yesterday');
    expect(formatDay(at('2026-02-28T23:59'), now)).toMatch(/^Saturday,? 28 February 2026$/);
    await setLanguage('zh');
    expect(formatDay(at('2026-03-01T23:59'), now)).toBe('昨天');
    expect(formatDay(at('2026-02-28T23:59'), now)).toBe('2026年2月28日星期六');
  });

  it('is correct across a clock change', () => {
    for (let month = 0; month < 12; month += 1) {
      for (let date = 1; date <= 31; date += 1) {
        const noon = new Date(2026, month, date, 12).getTime();
        expect(formatDay(new Date(2026, month, date - 1, 23, 30).getTime(), noon)).toBe('Yesterday');
        expect(formatDay(new Date(2026, month, date, 0, 30).getTime(), noon)).toBe('Today');
      }
    }
  });
});

describe('fill', () => {
  it('fills each placeholder, and keeps one without a value', () => {
    expect(fill('{a} and {a}, {b}', { a: '{b}' })).toBe('{b} and {b}, {b}');
  });
});

describe('error texts', () => {
  const refused = (code: string | null, detail = 'the server’s own'): ClosedReason => ({ cause: 'refused', status: 403, code, detail });

  it('are in the language of the page for known codes', async () => {
    await setLanguage('zh');
    expect(closedText(refused('not_a_member'))).toBe('服务器拒绝了连接：令牌属于其他用户。');
    expect(closedText({ cause: 'unusable', status: null, code: null, detail: 'SyntaxError' })).toBe('浏览器无法使用此令牌。');
    expect(failureText({ code: 'rate_limited', detail: 'slower' })).toBe('发送过于频繁，请稍后重发。');
  });

  it('contain the server’s text for unknown codes', () => {
    expect(closedText(refused('brand_new'))).toContain('the server’s own');
    expect(closedText(refused(null, ''))).toContain('403');
    expect(failureText({ code: 'brand_new', detail: '' })).toContain('brand_new');
  });

  it('ask for a token if one may help', () => {
    const closed = (reason: ClosedReason): boolean => tokenMayHelp({ name: 'closed', reason });
    expect(closed(refused('unauthenticated'))).toBe(true);
    expect(closed({ ...refused(null), cause: 'unusable', status: null })).toBe(true);
    expect(closed({ ...refused(null), cause: 'ended', status: null })).toBe(false);
  });
});
