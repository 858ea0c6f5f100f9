import { afterEach, expect, it, vi } from 'vitest';
import type { ConversationState } from './conversation_store';
import type { AddMessage } from './files/receive';

let finishLoading = (): void => {};
const received: unknown[] = [];

vi.mock('../extras', async () => {
  await new Promise<void>((resolve) => (finishLoading = resolve));
  return { receiveFile: (_add: unknown, _state: unknown, { message }: { readonly message: unknown }) => void received.push(message) };
});
vi.mock('./lazy', () => ({ lazyModule: (fetch: () => Promise<unknown>) => fetch }));
vi.mock('./i18n', () => ({ t: (key: string) => key }));

afterEach(() => {
  received.length = 0;
});

it('messages keep their order while the code for files is loaded', async () => {
  const { afterFiles, receiveFile } = await import('./files');
  const file = (message: string): void => receiveFile(null as unknown as AddMessage, null as unknown as ConversationState, { id: null, message, at: 1 }, false);
  afterFiles(() => received.push('before'));
  file('part 1');
  afterFiles(() => received.push('text'));
  file('part 2');
  expect(received).toEqual(['before']);
  await vi.waitFor(() => {
    finishLoading();
    expect(received.length).toBe(4);
  });
  file('part 3');
  afterFiles(() => received.push('after'));
  expect(received).toEqual(['before', 'part 1', 'text', 'part 2', 'part 3', 'after']);
});
