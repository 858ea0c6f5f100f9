import { describe, expect, it } from 'vitest';
import { scriptedToken } from './testing/scripted';
import { readToken } from './token';

describe('readToken', () => {
  it('says who and until when', () => {
    expect(readToken(scriptedToken({ sub: 'alice', exp: 100 }))).toEqual({ sub: 'alice', expiresAt: 100_000 });
  });

  it('reads names beyond ASCII', () => {
    expect(readToken(scriptedToken({ sub: '驿站' }))?.sub).toBe('驿站');
  });

  it('says nothing where the claims are missing or of another type', () => {
    expect(readToken(scriptedToken({ sub: 7, exp: 'x' }))).toEqual({ sub: null, expiresAt: null });
  });

  it('is null for what is no JWT', () => {
    for (const text of ['', 'a', 'a.b', 'a.b.c', 'a.!!!.c', 'a.bnVsbA.c', 'a.b.c.d', `${scriptedToken({ sub: 'alice' })}=`]) expect(readToken(text), text).toBe(null);
  });
});
