import { afterEach, describe, expect, it } from 'vitest';
import { session } from './session';
import { scriptedToken } from '../waystation/testing/scripted';

afterEach(() => session.leave());

describe('session', () => {
  it('takes the user that a token names', () => {
    const token = scriptedToken({ sub: 'alice' });
    expect(session.useToken(token)).toBe(true);
    expect([session.me.value, session.token.value]).toEqual(['alice', token]);
  });

  it('takes no token that names nobody, or that no browser could send', () => {
    for (const bad of ['', 'a.b.c', scriptedToken({ sub: 'Al ice' }), `${scriptedToken({ sub: 'alice' })}=`]) {
      expect(session.useToken(bad), bad).toBe(false);
    }
    expect(session.me.value).toBe(null);
  });

  it('takes nobody else’s token along', () => {
    const token = scriptedToken({ sub: 'alice' });
    session.useToken(token);
    session.be('alice');
    expect(session.token.value).toBe(token);
    session.be('bob');
    expect([session.me.value, session.token.value]).toEqual(['bob', null]);
  });
});
