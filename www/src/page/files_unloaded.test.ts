import { afterEach, expect, it, vi } from 'vitest';
import { append, clearConversations, conversationState, entriesOf } from './conversation_store';
import { afterFiles, receiveFile } from './files';
import type { AddMessage } from './files/receive';

let loads = false;
const received: unknown[] = [];

vi.mock('../extras', () => ({ receiveFile: (_add: unknown, _state: unknown, { message }: { readonly message: unknown }) => void received.push(message) }));
vi.mock('./lazy', () => ({ lazyModule: (fetch: () => Promise<unknown>) => async () => (loads ? fetch() : null) }));
vi.mock('./i18n', () => ({ t: (key: string) => key }));

afterEach(clearConversations);

const state = () => conversationState('bob');
const add: AddMessage = (into, { id, message, at }, own, file) => append(into, { id, own, value: message, at, status: null, file });
const arrive = (id: string, file: unknown): void => receiveFile(add, state(), { id, message: { file }, at: 1 }, false);
const shown = (): unknown[] => entriesOf(state()).map(({ value }) => value);

it('a file is shown as a text while its code cannot be loaded', async () => {
  arrive('f1', { id: 'f1', name: 'disk.log', type: 'text/plain', size: 6, offset: 0, data: 'AAAA' });
  arrive('f1-3', { id: 'f1', offset: 3, data: 'AAAA' });
  arrive('f1-end', { id: 'f1', canceled: true });
  afterFiles(() => void add(state(), { id: 'm1', message: 'text', at: 2 }, false));
  await vi.waitFor(() => expect(shown()).toEqual(['📎 app.loadFailed', 'text']));
  clearConversations();

  // What is no file after all.
  arrive('m1', 'f1');
  arrive('m2', null);
  await vi.waitFor(() => expect(shown()).toEqual(['📎 app.loadFailed', '📎 app.loadFailed']));

  // The next message tries again.
  loads = true;
  arrive('f5', { id: 'f5' });
  await vi.waitFor(() => expect(received).toEqual([{ file: { id: 'f5' } }]));
});
