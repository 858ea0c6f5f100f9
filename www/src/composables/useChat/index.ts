import { computed, getCurrentScope, onScopeDispose, readonly, shallowRef, toValue, watch, type ComputedRef, type MaybeRefOrGetter, type Ref } from 'vue';
import { openChat, SendError, type Chat, type ChatMessage, type ChatOptions, type LinkState, type SendOptions, type ServerError, type Ack } from '../../waystation';

export interface UseChatOptions extends Omit<ChatOptions, 'user'> {
  /** The user of this client: one of the two users of the group. */
  readonly user: MaybeRefOrGetter<string>;
  readonly onMessage?: (message: ChatMessage, group: string) => void;
  readonly onSignal?: (signal: unknown, from: string, group: string) => void;
  readonly onError?: (error: ServerError, group: string) => void;
}

export interface UseChatReturn {
  /** Null without a group. */
  readonly state: Readonly<Ref<LinkState | null>>;
  readonly isOpen: ComputedRef<boolean>;
  /** Whether the other user is present; null if unknown. */
  readonly present: Readonly<Ref<boolean | null>>;
  /** Whether the other user is present or has a push socket; undefined if unknown. */
  readonly reachable: Readonly<Ref<boolean | undefined>>;
  /** The number of messages in the offline queue. */
  readonly queued: Readonly<Ref<number>>;
  /** The ids of the held messages, in order. */
  readonly held: Readonly<Ref<readonly string[]>>;
  /** The newest message. `onMessage` is called for each one. */
  readonly message: Readonly<Ref<ChatMessage | null>>;
  readonly error: Readonly<Ref<ServerError | null>>;
  /** `options`: a string is the id. */
  readonly send: (message: unknown, options?: SendOptions | string) => Promise<Ack>;
  /** Whether the message waits in the offline queue. Changes with `queued`. */
  readonly isQueued: (id: string) => boolean;
  /** Removes a message that waits, held or in the offline queue. False if it does not wait. */
  readonly cancel: (id: string) => boolean;
  readonly signal: (signal: unknown) => boolean;
  readonly retry: () => void;
  readonly setToken: (token: string) => void;
  /** Closes before the scope ends. */
  readonly close: () => void;
}

/** Opens the chat socket of a group until the scope ends or the group changes. */
export function useChat(group: MaybeRefOrGetter<string | null>, options: UseChatOptions): UseChatReturn {
  const state = shallowRef<LinkState | null>(null);
  const present = shallowRef<boolean | null>(null);
  const reachable = shallowRef<boolean | undefined>();
  const queued = shallowRef(0);
  const held = shallowRef<readonly string[]>([]);
  const message = shallowRef<ChatMessage | null>(null);
  const error = shallowRef<ServerError | null>(null);
  let chat: Chat | null = null;

  function close(): void {
    // First, so that the listeners ignore the events of the closing chat.
    const closing = chat;
    chat = null;
    closing?.close();
    state.value = null;
    present.value = null;
    reachable.value = undefined;
    queued.value = 0;
    held.value = [];
    message.value = null;
    error.value = null;
  }

  function open(name: string, user: string): void {
    const opened = openChat(name, { ...options, user });
    chat = opened;
    state.value = opened.state;
    const current = <T>(listener: (value: T) => void) => (value: T): void => {
      if (opened === chat) listener(value);
    };
    opened.on('state', current((value) => { state.value = value; }));
    opened.on('presence', current((value) => { present.value = value; }));
    opened.on('reachable', current((value) => { reachable.value = value; }));
    opened.on('queue', current((value) => { queued.value = value.messages; }));
    opened.on('held', current((value) => { held.value = value; }));
    opened.on('message', current((value) => {
      message.value = value;
      options.onMessage?.(value, name);
    }));
    opened.on('signal', current((value) => options.onSignal?.(value.signal, value.from, name)));
    opened.on('error', current((value) => {
      error.value = value;
      options.onError?.(value, name);
    }));
  }

  const stop = watch(
    () => [toValue(group), toValue(options.user)] as const,
    ([name, user]) => {
      close();
      if (name !== null) open(name, user);
    },
    { immediate: true, flush: 'sync' },
  );

  function dispose(): void {
    stop();
    close();
  }
  if (getCurrentScope()) onScopeDispose(dispose);

  return {
    state: readonly(state) as Readonly<Ref<LinkState | null>>,
    isOpen: computed(() => state.value?.name === 'open'),
    present: readonly(present),
    reachable: readonly(reachable),
    queued: readonly(queued),
    held: readonly(held) as Readonly<Ref<readonly string[]>>,
    message: readonly(message) as Readonly<Ref<ChatMessage | null>>,
    error: readonly(error),
    send: (value, sendOptions) =>
      chat?.send(value, sendOptions) ?? Promise.reject(new SendError('closed', 'not_sent', 'message: not sent; no chat is open')),
    isQueued: (id) => queued.value > 0 && (chat?.isQueued(id) ?? false),
    cancel: (id) => chat?.cancel(id) ?? false,
    signal: (value) => chat?.signal(value) ?? false,
    retry: () => chat?.retry(),
    setToken: (token) => chat?.setToken(token),
    close: dispose,
  };
}
