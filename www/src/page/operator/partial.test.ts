import { afterEach, describe, expect, it, vi } from 'vitest';
import { shallowRef } from 'vue';
import { endSessions, fetchPresence, sendPush } from './api';
import { readUsers } from './present_users';

// The preferences, and visibility, need a browser.
vi.mock('../preferences', () => ({ locale: shallowRef('en') }));
vi.mock('../browser_state', () => ({ pageVisible: shallowRef(true) }));

describe.each<[string, () => Promise<{ readonly partial: boolean }>, string]>([
  ['the users', () => readUsers('', ''), '"users":[{"user":"alice","push_sockets":1,"groups":0,"nodes":1}],"next":null'],
  ['one user', () => fetchPresence('alice', ''), '"user":"alice","push":1,"groups":[]'],
  ['a push', () => sendPush('alice', '1', ''), '"reached":1'],
  ['ending sessions', () => endSessions('alice', ''), '"closed":1'],
])('the answer to %s', (_, read, members) => {
  afterEach(() => vi.unstubAllGlobals());

  it('says whether a node did not answer', async () => {
    for (const [more, partial] of [['', false], [',"partial":true', true]] as const) {
      vi.stubGlobal('fetch', async () => new Response(`{${members}${more}}`));
      expect((await read()).partial).toBe(partial);
    }
  });
});
