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

beforeEach(() => {
  opened.length = 0;
});

afterEach(() => {
  session.declineReplacement();
  for (const tab of [session, ...otherTabs.splice(0)]) tab.signOut();
});

describe('signing in', () => {
  it('uses the user of a token', () => {
    const token = tokenOf('alice');
    expect(session.signInWithToken(token)).toBe(true);
    expect(who()).toEqual(['alice', token]);
  });

  it('rejects a token without a user, and one that a browser cannot send', () => {
    for (const bad of garbage) expect(session.signInWithToken(bad), bad).toBe(false);
    expect(session.me.value).toBe(null);
  });

  it('keeps the token when its user signs in by name', () => {
    const token = tokenOf('alice');
    session.signInWithToken(token);
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
    session.signInWithToken(tokenOf('alice'));
    await replace();
    expect(session.replacement.value).toMatchObject({ from: 'alice', to: 'eve' });
    expect(who()).toEqual(['alice', tokenOf('alice')]);
    expect(opened).toEqual([]);

    session.declineReplacement();
    expect(session.replacement.value).toBe(null);
    expect(who()).toEqual(['alice', tokenOf('alice')]);
    expect(opened).toEqual([]);

    await replace();
    session.acceptReplacement();
    expect(session.replacement.value).toBe(null);
    expect(who()).toEqual(then);
  });

  it('opens the page of the link after the confirmation', async () => {
    session.signIn('alice');
    await follow({ me: 'eve' });
    session.acceptReplacement();
    expect(opened).toEqual(['eve']);
  });

  it('does not change an open question', async () => {
    session.signIn('alice');
    await follow({ me: 'bob' });
    await follow({ token: eve });
    session.acceptReplacement();
    expect(session.me.value).toBe('bob');
  });

  it('never happens with a token without a user', async () => {
    session.signInWithToken(tokenOf('alice'));
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
    session.signInWithToken(good);
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
    session.signInWithToken(good);
    const following = follow({ token });
    expect(who()).toEqual(['alice', good]);
    await following;
    expect(asked).toEqual([token]);
    expect(who()).toEqual(['alice', good]);
    await follow({ token: newer });
    expect(who()).toEqual(['alice', newer]);
  });

  it.each([
    ['expires later', forged],
    ['never expires', forgedForever],
  ])('is used instead of a forged one that %s', async (_, token) => {
    accepted = [good];
    await follow({ token });
    expect(who()).toEqual(['alice', token]);
    await follow({ token: good });
    expect(who()).toEqual(['alice', good]);
  });

  it('is dropped without an answer, unless the present one has expired', async () => {
    for (const status of [429, 503, 200]) {
      accepted = status;
      session.signInWithToken(good);
      for (const token of [forged, newer, old]) await follow({ token });
      expect(who()).toEqual(['alice', good]);
      session.signInWithToken(expired);
      await follow({ token: newer });
      expect(who()).toEqual(['alice', newer]);
    }
  });

  it('that is forged does not replace an expired or a missing one', async () => {
    accepted = [good];
    session.signInWithToken(expired);
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
    session.signInWithToken(good);
    await follow({ token: old });
    expect(who()).toEqual(['alice', good]);
    session.signInWithToken(old);
    expect(who()).toEqual(['alice', old]);
  });

  it('is dropped if the user signed out before the answer', async () => {
    accepted = [good, newer];
    session.signInWithToken(good);
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
    session.acceptReplacement();
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
