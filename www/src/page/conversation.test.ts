import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { nextTick } from 'vue';
import { FakeBrowser } from '../waystation/testing/fake_browser';
import { closeConversations, openConversation, type Conversation } from './conversation';
import { clearConversations, entriesOf, type Entry } from './conversation_store';
import { recentEntries } from './history_entries';
import { makeFile, setContent } from './files/store';

const page = vi.hoisted(() => ({ environment: {} }));
// These need a document.
vi.mock('./browser_state', () => ({ pageVisible: { value: true } }));
vi.mock('./notifications', () => ({ addToast: () => {}, dismissToastsOf: () => {}, notifyDesktop: () => {} }));
vi.mock('./preferences', () => ({ locale: { value: 'en' } }));
vi.mock('../soon', () => ({ askHistory: () => {} }));
// Without its components.
vi.mock('../extras', () => import('./files/send'));
vi.mock('../waystation/environment', async (original) => ({ ...(await original<object>()), browserEnvironment: () => page.environment }));

let browser: FakeBrowser;
let conversation: Conversation;

beforeEach(async () => {
  vi.useFakeTimers({ now: 1_700_000_000_000 });
  browser = new FakeBrowser();
  page.environment = browser.tab().environment;
  conversation = openConversation('alice', 'bob');
  // Its token function resolves.
  await flushPromises();
  browser.socket.accept();
});

afterEach(() => {
  closeConversations();
  clearConversations();
  vi.useRealTimers();
});

const flushPromises = (): Promise<unknown> => vi.advanceTimersByTimeAsync(0);
const entries = (): Entry[] => entriesOf(conversation.state);
const presence = (reachable: boolean): void => browser.socket.sendFrame({ presence: { user: 'bob', present: false, reachable } });

const messages = (): unknown[] => browser.socket.frames.filter((frame) => 'message' in frame);

/** The server's answer to a message. */
async function answer(id: string | null, route: string): Promise<void> {
  browser.socket.sendFrame({ ack: { id, route, reached: route === 'none' ? 0 : 1, at: 2 } });
  await flushPromises();
}

/** Sends a text. */
function say(text: string): Entry {
  conversation.send(text);
  return entries().at(-1)!;
}

describe('a message that the user removes or edits while it is under way', () => {
  it.each(['remove', 'edit'] as const)('does not come back with its acknowledgement: %s', async (act) => {
    const entry = say('hello');
    presence(false);
    await answer(entry.id, 'none');
    conversation.hold(entry);
    await answer(entry.id, 'none');
    expect(entry.status).toBe('held');
    presence(true);
    conversation[act](entry);
    await answer(entry.id, 'push');
    expect([entries(), conversation.state.count, conversation.state.characters]).toEqual([[], 0, 0]);
    expect(conversation.state.draft).toBe(act === 'edit' ? 'hello' : '');
  });

  it.each(['remove', 'edit'] as const)('does not come back with the file that it has: %s', async (act) => {
    const file = makeFile({ name: 'notes.txt', type: 'text/plain', size: 7 });
    setContent(file, new TextEncoder().encode('content'));
    conversation.state.attachments.push(file);
    const entry = say('');
    presence(false);
    await vi.waitFor(() => expect(messages()).toHaveLength(1));
    await answer(entry.id, 'none');
    conversation.hold(entry);
    await vi.waitFor(() => expect(messages()).toHaveLength(2));
    await answer(entry.id, 'none');
    expect(entry.status).toBe('held');
    presence(true);
    conversation[act](entry);
    await answer(entry.id, 'push');
    expect([entries(), conversation.state.count, conversation.state.characters]).toEqual([[], 0, 0]);
  });
});

describe('a message in the offline queue', () => {
  /** The connection is back, and a message waits for the peer. */
  async function returned(): Promise<Entry> {
    browser.socket.drop();
    await nextTick();
    const entry = say('hello');
    expect(entry.status).toBe('queued');
    await vi.advanceTimersByTimeAsync(1_000);
    browser.socket.accept();
    presence(false);
    await nextTick();
    return entry;
  }

  it('is shown as such until it is sent, and stays in its tab until then', async () => {
    const entry = await returned();
    const later = say('later');
    await nextTick();
    expect([entry.status, later.status]).toEqual(['queued', 'queued']);
    expect(recentEntries(conversation.state)).toEqual([]);
    presence(true);
    await nextTick();
    expect([entry.status, later.status]).toEqual(['sending', 'sending']);
    expect(recentEntries(conversation.state).map(({ status }) => status)).toEqual(['other_tab', 'other_tab']);
    await answer(entry.id, 'push');
    expect([entry.status, later.status]).toEqual(['push', 'sending']);
  });

  it('is not shown as such behind one that waits for the peer', async () => {
    const entry = say('hello');
    presence(false);
    await answer(entry.id, 'none');
    conversation.hold(entry);
    await answer(entry.id, 'none');
    const next = say('next');
    browser.socket.drop();
    await nextTick();
    expect([entry.status, next.status]).toEqual(['held', 'held']);
  });
});
