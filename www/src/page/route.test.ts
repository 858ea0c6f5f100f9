import { describe, expect, it } from 'vitest';
import { readHash, writeHash } from './route';

describe('readHash', () => {
  it('reads the pages', () => {
    expect(readHash('').route).toEqual({ page: 'home' });
    expect(readHash('#/').route).toEqual({ page: 'home' });
    expect(readHash('#/with/bob').route).toEqual({ page: 'chat', peer: 'bob' });
    expect(readHash('#/notices').route).toEqual({ page: 'notices' });
    expect(readHash('#/operator').route).toEqual({ page: 'operator' });
  });

  it('reads user, peer and token', () => {
    expect(readHash('#/?me=alice&to=bob')).toEqual({ route: { page: 'chat', peer: 'bob' }, me: 'alice', token: null });
    expect(readHash('#/?token=a.b.c').token).toBe('a.b.c');
  });

  it('ignores invalid user ids', () => {
    expect(readHash('#/?me=Al%20ice&to=%3Cb%3E')).toEqual({ route: { page: 'home' }, me: null, token: null });
    expect(readHash('#/with/BOB').route).toEqual({ page: 'home' });
    expect(readHash('#/nowhere').route).toEqual({ page: 'home' });
  });

  it('reads the result of writeHash', () => {
    for (const route of [{ page: 'home' }, { page: 'chat', peer: 'bob' }, { page: 'notices' }, { page: 'operator' }] as const) {
      expect(readHash(writeHash(route)).route).toEqual(route);
    }
  });
});
