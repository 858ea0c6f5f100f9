import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { shallowRef } from 'vue';
import { setLanguage } from './i18n';
import { notifyDesktop } from './notifications';
import { session } from './session';

/** A fake desktop: a notification replaces another one with the same tag. */
const desktop = vi.hoisted(() => {
  const shown = new Map<string, string>();
  class Notification {
    static permission = 'granted';
    constructor(title: string, { body, tag }: { body: string; tag: string }) {
      shown.set(tag, `${title}: ${body}`);
    }
  }
  Object.assign(globalThis, { window: Object.assign(new EventTarget(), { Notification }), Notification });
  return shown;
});

vi.mock('./preferences', () => ({ locale: shallowRef('en'), notify: shallowRef('on') }));
vi.mock('./browser_state', () => ({ pageVisible: shallowRef(false) }));

beforeEach(async () => {
  await setLanguage('en');
  vi.stubGlobal('navigator', { languages: ['en'] });
  session.signIn('alice');
});

afterEach(() => {
  session.signOut();
  desktop.clear();
  vi.unstubAllGlobals();
});

const shown = (): string[] => [...desktop.values()];

describe('a desktop notification', () => {
  it('replaces the same message of another tab', async () => {
    await notifyDesktop('bob', 'hello', 'm1');
    await notifyDesktop('bob', 'hello', 'm1');
    expect(shown()).toEqual(['Message from bob: hello']);
  });

  it('does not replace another sender’s, for any id', async () => {
    for (const peer of ['bob', 'carol']) for (const id of ['m1', null, 'null', 'bob', 'carol']) await notifyDesktop(peer, String(id), id);
    expect(desktop.size).toBe(10);
  });

  it('does not replace a notice of the server', async () => {
    await notifyDesktop(null, 'the disk is full', null);
    await notifyDesktop(null, 'the fan is broken', 'n1');
    for (const peer of ['bob', 'notice', 'null']) {
      for (const id of ['waystation-notice', 'notice', 'null', 'n1', '']) await notifyDesktop(peer, 'all is well', id);
    }
    expect(shown().filter((text) => text.startsWith('Notice: '))).toEqual(['Notice: the disk is full', 'Notice: the fan is broken']);
  });

  it('does not replace one of another user in the same browser', async () => {
    await notifyDesktop('bob', 'for alice', 'm1');
    session.signOut();
    session.signIn('dora');
    await notifyDesktop('bob', 'for dora', 'm1');
    expect(shown()).toEqual(['Message from bob: for alice', 'Message from bob: for dora']);
  });
});
