import { describe, expect, it } from 'vitest';
import { fakeToken } from './testing/fake_browser';
import { readToken } from './token';

describe('readToken', () => {
  it('reads user and expiry', () => {
    expect(readToken(fakeToken({ sub: 'alice', exp: 100 }))).toEqual({ sub: 'alice', expiresAt: 100_000 });
  });

  it('reads names outside ASCII', () => {
    expect(readToken(fakeToken({ sub: '驿站' }))?.sub).toBe('驿站');
  });

  it('returns null for missing claims and wrong types', () => {
    expect(readToken(fakeToken({ sub: 7, exp: 'x' }))).toEqual({ sub: null, expiresAt: null });
  });

  it('returns null for a text that is not a JWT', () => {
    for (const text of ['', 'a', 'a.b', 'a.b.c', 'a.!!!.c', 'a.bnVsbA.c', 'a.b.c.d', `${fakeToken({ sub: 'alice' })}=`]) expect(readToken(text), text).toBe(null);
  });
});
