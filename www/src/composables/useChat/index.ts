import { computed, getCurrentScope, onScopeDispose, readonly, shallowRef, toValue, watch, type ComputedRef, type MaybeRefOrGetter, type Ref } from 'vue';
import { openChat, SendError, type Chat, type ChatMessage, type ChatOptions, type LinkState, type ServerError, type Ack } from '../../waystation';

export interface UseChatOptions extends Omit<ChatOptions, 'user'> {
  /** Who is calling: one of the two users of the group. */
  readonly user: MaybeRefOrGetter<string>;
  readonly onMessage?: (message: ChatMessage, group: string) => void;
  readonly onSignal?: (signal: unknown, from: string, group: string) => void;
  readonly onError?: (error: ServerError, group: string) => void;
}

export interface UseChatReturn {
  /** Null while there is no group. */
  readonly state: Readonly<Ref<LinkState | null>>;
  readonly isOpen: ComputedRef<boolean>;
  /** Whether the other user is there; null while that is not known. */
  readonly present: Readonly<Ref<boolean | null>>;
  /** How many messages wait for a connection. */
  readonly queued: Readonly<Ref<number>>;
  /** The newest message. `onMessage` sees each one, also where several arrive in one turn. */
  readonly message: Readonly<Ref<ChatMessage | null>>;
  readonly error: Readonly<Ref<ServerError | null>>;
  readonly send: (message: unknown, id?: string) => Promise<Ack>;
  readonly signal: (signal: unknown) => boolean;
  readonly retry: () => void;
  readonly setToken: (token: string) => void;
  /** Leaves before the scope ends. */
  readonly close: () => void;
}

/** The conversation of a group, open as long as the scope lives and the group stays the same. */
export function useChat(group: MaybeRefOrGetter<string | null>, options: UseChatOptions): UseChatReturn {
  const state = shallowRef<LinkState | null>(null);
  const present = shallowRef<boolean | null>(null);
  const queued = shallowRef(0);
  const message = shallowRef<ChatMessage | null>(null);
  const error = shallowRef<ServerError | null>(null);
  let chat: Chat | null = null;

  function close(): void {
    // From here on the events of this chat go nowhere: `close` takes its
    // listeners away, and each of them asks whether the chat is still the one.
    const leaving = chat;
    chat = null;
    leaving?.close();
    state.value = null;
    present.value = null;
    queued.value = 0;
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
    opened.on('queue', current((value) => { queued.value = value.messages; }));
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

  function leave(): void {
    stop();
    close();
  }
  if (getCurrentScope()) onScopeDispose(leave);

  return {
    state: readonly(state) as Readonly<Ref<LinkState | null>>,
    isOpen: computed(() => state.value?.name === 'open'),
    present: readonly(present),
    queued: readonly(queued),
    message: readonly(message) as Readonly<Ref<ChatMessage | null>>,
    error: readonly(error),
    send: (value, id) =>
      chat?.send(value, id) ?? Promise.reject(new SendError('closed', 'not_sent', 'there is no open conversation to send to')),
    signal: (value) => chat?.signal(value) ?? false,
    retry: () => chat?.retry(),
    setToken: (token) => chat?.setToken(token),
    close: leave,
  };
}
