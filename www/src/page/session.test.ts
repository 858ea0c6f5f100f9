import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { fakeToken } from '../waystation/testing/fake_browser';
import { session } from './session';

const otherTabs: (typeof session)[] = [];

/** Another tab of the same browser. */
async function otherTab(): Promise<typeof session> {
  vi.resetModules();
  const tab = (await import('./session')).session;
  otherTabs.push(tab);
  return tab;
}

const tokenOf = (sub: string, exp = 2_000_000_000): string => fakeToken({ sub, exp });
const garbage = ['', 'a.b.c', fakeToken({ sub: 'Al ice' }), fakeToken({}), `${tokenOf('eve')}=`];

const opened: string[] = [];
const follow = (link: { readonly me?: string; readonly token?: string }): Promise<void> =>
  session.followLink({ me: null, token: null, ...link }, () => opened.push(link.me ?? link.token ?? ''));
const who = (): unknown => [session.me.value, session.token.value];

/** The status of the server's answer about every token. */
let answer: number;

beforeEach(() => {
  opened.length = 0;
  answer = 426;
  vi.stubGlobal('fetch', () => Promise.resolve(new Response('{"error":{"code":"unauthenticated","detail":"the reason"}}', { status: answer })));
});

afterEach(() => {
  session.declineReplacement();
  for (const tab of [session, ...otherTabs.splice(0)]) tab.signOut();
});

describe('signing in', () => {
  it('uses the user of a token', async () => {
    const token = tokenOf('alice');
    await session.signInWithToken(token);
    expect(session.tokenProblem.value).toBe(null);
    expect(who()).toEqual(['alice', token]);
  });

  it('rejects a token without a user, and one that a browser cannot send', async () => {
    for (const bad of garbage) {
      await session.signInWithToken(bad);
      expect(session.tokenProblem.value, bad).toEqual({ kind: 'malformed' });
      session.forgetTokenProblem();
      await follow({ token: bad });
      expect(session.tokenProblem.value, bad).toEqual({ kind: 'malformed' });
    }
    expect(session.me.value).toBe(null);
  });

  it('does not use a token that the server refuses, and says why', async () => {
    answer = 401;
    const token = tokenOf('alice');
    const refused = { kind: 'refused', status: 401, code: 'unauthenticated', detail: 'the reason', expiresAt: 2_000_000_000_000 };
    for (const signIn of [() => session.signInWithToken(token), () => follow({ token })]) {
      await signIn();
      expect(session.tokenProblem.value).toEqual(refused);
      expect(who()).toEqual([null, null]);
      session.forgetTokenProblem();
    }
    expect(opened).toEqual([]);
    answer = 426;
    await session.signInWithToken(token);
    expect(who()).toEqual(['alice', token]);
    expect(session.tokenProblem.value).toBe(null);
  });

  it('uses a token without an answer of the server, unless it has expired', async () => {
    for (const status of [200, 429, 503]) {
      answer = status;
      await session.signInWithToken(tokenOf('alice', 1_000_000_000));
      expect(session.tokenProblem.value).toMatchObject({ detail: 'the token has expired', expiresAt: 1_000_000_000_000 });
      expect(session.me.value).toBe(null);
      await session.signInWithToken(tokenOf('alice'));
      expect(session.me.value).toBe('alice');
      session.signOut();
    }
  });

  it('ignores the answer about a token after the user chose another way', async () => {
    const token = session.signInWithToken(tokenOf('alice'));
    expect(session.checkingToken.value).toBe(true);
    session.signIn('bob');
    await token;
    expect(who()).toEqual(['bob', null]);
    const expired = session.signInWithToken(tokenOf('bob'));
    session.signOut();
    await expired;
    expect(who()).toEqual([null, null]);
    expect(session.checkingToken.value).toBe(false);
  });

  it('keeps the token when its user signs in by name', async () => {
    const token = tokenOf('alice');
    await session.signInWithToken(token);
    session.signIn('alice');
    expect(who()).toEqual(['alice', token]);
  });

  it('uses the user of a link', async () => {
    await follow({ token: tokenOf('alice') });
    expect(who()).toEqual(['alice', tokenOf('alice')]);
    session.signOut();
    await follow({ me: 'bob' });
    expect(who()).toEqual(['bob', null]);
    expect(opened).toEqual([tokenOf('alice'), 'bob']);
    expect(session.replacement.value).toBe(null);
  });
});

describe('replacing one user by another', () => {
  const eve = tokenOf('eve');

  it.each([
    ['a token in a link', () => follow({ token: eve }), ['eve', eve]],
    ['a name in a link', () => follow({ me: 'eve' }), ['eve', null]],
    ['a token that is entered', () => session.signInWithToken(eve), ['eve', eve]],
    ['a name that is entered', () => session.signIn('eve'), ['eve', null]],
  ])('needs a confirmation: %s', async (_, replace, then) => {
    await session.signInWithToken(tokenOf('alice'));
    await replace();
    expect(session.replacement.value).toMatchObject({ from: 'alice', to: 'eve' });
    expect(who()).toEqual(['alice', tokenOf('alice')]);
    expect(opened).toEqual([]);

    session.declineReplacement();
    expect(session.replacement.value).toBe(null);
    expect(who()).toEqual(['alice', tokenOf('alice')]);
    expect(opened).toEqual([]);

    await replace();
    await session.acceptReplacement();
    expect(session.replacement.value).toBe(null);
    expect(who()).toEqual(then);
  });

  it('opens the page of the link after the confirmation', async () => {
    session.signIn('alice');
    await follow({ me: 'eve' });
    await session.acceptReplacement();
    expect(opened).toEqual(['eve']);
  });

  it('does not change an open question', async () => {
    session.signIn('alice');
    await follow({ me: 'bob' });
    await follow({ token: eve });
    await session.acceptReplacement();
    expect(session.me.value).toBe('bob');
  });

  it('never happens with a token without a user', async () => {
    await session.signInWithToken(tokenOf('alice'));
    for (const token of garbage) await follow({ me: 'eve', token });
    expect(session.replacement.value).toBe(null);
    expect(who()).toEqual(['alice', tokenOf('alice')]);
    expect(opened).toEqual(garbage.map(() => 'eve'));
  });
});

describe('a token of the same user', () => {
  const [old, good, newer] = [tokenOf('alice', 1_900_000_000), tokenOf('alice', 2_000_000_000), tokenOf('alice', 2_000_000_100)];
  const expired = tokenOf('alice', 1_000_000_000);
  const forged = fakeToken({ sub: 'alice', exp: 9_000_000_000, forged: true });
  const forgedForever = fakeToken({ sub: 'alice' });

  /** The tokens that the server accepts, or the status of every answer. */
  let accepted: readonly string[] | number;
  const asked: string[] = [];

  /** A token that the server accepted before it expired. */
  const useExpired = async (): Promise<void> => {
    accepted = [expired];
    await session.signInWithToken(expired);
  };

  beforeEach(() => {
    asked.length = 0;
    vi.stubGlobal('fetch', (url: string, { headers }: { headers: { Authorization: string } }) => {
      const token = headers.Authorization.replace('Bearer ', '');
      expect(new URL(url).pathname).toBe('/push/alice/');
      asked.push(token);
      const status = typeof accepted === 'number' ? accepted : accepted.includes(token) ? 426 : 401;
      return Promise.resolve(new Response('{"error":{"code":"unauthenticated","detail":""}}', { status }));
    });
  });
  afterEach(() => {
    vi.unstubAllGlobals();
  });

  it('is used without a question if the server accepts it', async () => {
    accepted = [good, newer];
    await session.signInWithToken(good);
    await follow({ token: newer });
    expect(session.replacement.value).toBe(null);
    expect(who()).toEqual(['alice', newer]);
    expect(opened).toEqual([newer]);
  });

  it.each([
    ['expires later', forged],
    ['never expires', forgedForever],
  ])('that is forged and %s is dropped, and a genuine link is used later', async (_, token) => {
    accepted = [good, newer];
    await session.signInWithToken(good);
    const following = follow({ token });
    expect(who()).toEqual(['alice', good]);
    await following;
    expect(asked).toEqual([good, token]);
    expect(who()).toEqual(['alice', good]);
    await follow({ token: newer });
    expect(who()).toEqual(['alice', newer]);
  });

  it.each([
    ['expires later', forged],
    ['never expires', forgedForever],
  ])('is used instead of a forged one that %s', async (_, token) => {
    // Without an answer, the page cannot tell.
    accepted = 503;
    await follow({ token });
    expect(who()).toEqual(['alice', token]);
    accepted = [good];
    await follow({ token: good });
    expect(who()).toEqual(['alice', good]);
  });

  it('is dropped without an answer, unless the present one has expired', async () => {
    for (const status of [429, 503, 200]) {
      accepted = status;
      await session.signInWithToken(good);
      for (const token of [forged, newer, old]) await follow({ token });
      expect(who()).toEqual(['alice', good]);
      await useExpired();
      accepted = status;
      await follow({ token: newer });
      expect(who()).toEqual(['alice', newer]);
    }
  });

  it('that is forged does not replace an expired or a missing one', async () => {
    await useExpired();
    accepted = [good];
    await follow({ token: forged });
    expect(who()).toEqual(['alice', expired]);
    session.signOut();
    session.signIn('alice');
    await follow({ token: forged });
    expect(who()).toEqual(['alice', null]);
  });

  it('is used for a user without a token', async () => {
    accepted = [good];
    session.signIn('alice');
    await follow({ token: good });
    expect(who()).toEqual(['alice', good]);
  });

  it('is ignored in an old link, and used when entered', async () => {
    accepted = [old, good];
    await session.signInWithToken(good);
    await follow({ token: old });
    expect(who()).toEqual(['alice', good]);
    await session.signInWithToken(old);
    expect(who()).toEqual(['alice', old]);
  });

  it('is dropped if the user signed out before the answer', async () => {
    accepted = [good, newer];
    await session.signInWithToken(good);
    const following = follow({ token: newer });
    session.signOut();
    await following;
    expect(who()).toEqual([null, null]);
  });
});

describe('a token in a link, with a user in another tab', () => {
  it('needs a confirmation for another user', async () => {
    const tab = await otherTab();
    tab.signIn('alice');
    await follow({ token: tokenOf('eve') });
    expect(session.replacement.value).toMatchObject({ from: 'alice', to: 'eve' });
    expect(who()).toEqual([null, null]);
    session.declineReplacement();
    expect(who()).toEqual([null, null]);
    await follow({ token: tokenOf('eve') });
    await session.acceptReplacement();
    expect(who()).toEqual(['eve', tokenOf('eve')]);
    expect(tab.me.value).toBe('alice');
  });

  it('is used for the same user, and if no tab has a user', async () => {
    const [other, alice, nobody] = [await otherTab(), await otherTab(), await otherTab()];
    alice.signIn('alice');
    other.signIn('bob');
    await follow({ token: tokenOf('alice') });
    expect(session.replacement.value).toBe(null);
    expect(session.me.value).toBe('alice');
    session.signOut();
    for (const tab of [alice, other, nobody]) tab.signOut();
    await follow({ token: tokenOf('eve') });
    expect(session.me.value).toBe('eve');
  });

  it('waits for the answers of the tabs', async () => {
    const tab = await otherTab();
    tab.signIn('alice');
    const following = follow({ token: tokenOf('eve') });
    expect(session.checkingTabs.value).toBe(true);
    expect(who()).toEqual([null, null]);
    // A second link does not overtake the first.
    await follow({ token: tokenOf('bob') });
    await following;
    expect(session.checkingTabs.value).toBe(false);
    expect(session.replacement.value).toMatchObject({ to: 'eve' });
  });

  it('needs a confirmation if that tab is frozen: it does not answer, but it holds its lock', async () => {
    const held = new Set<{ name: string }>();
    const request = async (name: string, _: unknown, run: () => Promise<void>): Promise<void> => {
      const lock = { name };
      held.add(lock);
      await run();
      held.delete(lock);
    };
    vi.stubGlobal('navigator', { locks: { request, query: () => Promise.resolve({ held: [...held] }) } });
    const channels = globalThis.BroadcastChannel;
    vi.stubGlobal(
      'BroadcastChannel',
      class {
        postMessage(): void {}
      },
    );
    const tab = await otherTab();
    vi.stubGlobal('BroadcastChannel', channels);
    tab.signIn('alice');
    await follow({ token: tokenOf('eve') });
    expect(session.replacement.value).toMatchObject({ from: 'alice', to: 'eve' });
    expect(who()).toEqual([null, null]);
    session.declineReplacement();

    // The lock ends with the user.
    tab.signOut();
    await follow({ token: tokenOf('eve') });
    expect(who()).toEqual(['eve', tokenOf('eve')]);
    vi.unstubAllGlobals();
  });
});
