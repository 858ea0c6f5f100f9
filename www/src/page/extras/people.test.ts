import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { nextTick } from 'vue';

const key = 'waystation.people';
const items = new Map<string, string>();
const saved = (): unknown => JSON.parse(items.get(key) ?? 'null');
const stops: (() => void)[] = [];

beforeEach(() => {
  vi.stubGlobal('localStorage', {
    getItem: (name: string) => items.get(name) ?? null,
    setItem: (name: string, value: string) => void items.set(name, value),
    removeItem: (name: string) => void items.delete(name),
  });
});
afterEach(() => {
  for (const stop of stops.splice(0)) stop();
  items.clear();
  vi.unstubAllGlobals();
});

/** A tab of the browser with its user. */
async function tab(user = 'alice') {
  vi.resetModules();
  const [people, store, { session }] = await Promise.all([import('./people'), import('../conversation_store'), import('../session')]);
  session.signIn(user);
  await nextTick();
  stops.push(people.rememberPeople());
  return {
    ...people,
    async talkTo(...peers: readonly string[]): Promise<void> {
      for (const peer of peers) store.append(store.conversationState(peer), { id: null, own: false, value: 'hi', at: 1, status: null });
      await nextTick();
    },
    /** Opens a conversation without a message. */
    look: (peer: string) => store.conversationState(peer),
  };
}

describe('names', () => {
  it('are not stored unless the user turns it on', async () => {
    const one = await tab();
    await one.talkTo('bob');
    expect(one.remembers.value).toBe(false);
    expect(items.size).toBe(0);
  });

  it('of those talked to are stored, for this user, and nothing else', async () => {
    const one = await tab();
    await one.talkTo('bob');
    one.look('dave');
    one.remembers.value = true;
    await one.talkTo('carol');
    expect([...items.keys()]).toEqual([key]);
    expect(saved()).toEqual({ alice: ['bob', 'carol'] });
    expect((await tab()).remembered.value).toEqual(['bob', 'carol']);
    expect((await tab('eve')).remembered.value).toEqual([]);
  });

  it('are deleted when the user turns it off, or forgets one', async () => {
    items.set(key, '{"alice":["bob","carol"],"eve":["dave"]}');
    const one = await tab();
    one.forget('bob');
    expect(saved()).toEqual({ alice: ['carol'], eve: ['dave'] });
    one.remembers.value = false;
    expect(items.size).toBe(0);
  });

  it('in the list of conversations are not shown twice', async () => {
    items.set(key, '{"alice":["bob","carol"]}');
    const one = await tab();
    one.look('bob');
    expect(one.remembered.value).toEqual(['carol']);
  });

  it('of another tab are kept', async () => {
    const one = await tab();
    one.remembers.value = true;
    items.set(key, '{"alice":["dave"]}');
    await one.talkTo('bob');
    expect(saved()).toEqual({ alice: ['bob', 'dave'] });
  });

  it('are those of a user who is called as a member of every object', async () => {
    const one = await tab('constructor');
    one.remembers.value = true;
    expect(one.remembered.value).toEqual([]);
    await one.talkTo('bob');
    one.forget('carol');
    expect(saved()).toEqual({ constructor: ['bob'] });
  });

  it('are at most 50', async () => {
    items.set(key, JSON.stringify({ alice: Array.from({ length: 60 }, (_, n) => `user${n}`) }));
    const one = await tab();
    await one.talkTo('bob');
    expect((saved() as { alice: string[] }).alice.length).toBe(50);
    expect((saved() as { alice: string[] }).alice[0]).toBe('bob');
  });

  it.each(['nonsense', '7', '[]', 'null', '{"alice":7}', '{"alice":["Not an id!",7,{}]}'])('are not taken from %s', async (stored) => {
    items.set(key, stored);
    expect((await tab()).remembered.value).toEqual([]);
  });
});
