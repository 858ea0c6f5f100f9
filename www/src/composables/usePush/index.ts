import { computed, getCurrentScope, onScopeDispose, readonly, shallowRef, toValue, watch, type ComputedRef, type MaybeRefOrGetter, type Ref } from 'vue';
import { connectPush, SendError, type LinkState, type Missed, type MissedQuestion, type Push, type PushEvent, type PushOptions, type ServerError } from '../../waystation';

export interface UsePushOptions extends PushOptions {
  readonly onEvent?: (event: PushEvent, user: string) => void;
  readonly onError?: (error: ServerError, user: string) => void;
}

export interface UsePushReturn {
  /** Null without a user. */
  readonly state: Readonly<Ref<LinkState | null>>;
  readonly isOpen: ComputedRef<boolean>;
  /** The newest event. `onEvent` is called for each one. */
  readonly event: Readonly<Ref<PushEvent | null>>;
  readonly error: Readonly<Ref<ServerError | null>>;
  /** Asks who tried to reach the user and found no socket. Rejects with a SendError. */
  readonly missed: (question: MissedQuestion) => Promise<Missed>;
  readonly retry: () => void;
  readonly setToken: (token: string) => void;
  /** Closes before the scope ends. */
  readonly close: () => void;
}

/** Opens the push socket of a user until the scope ends or the user changes. */
export function usePush(user: MaybeRefOrGetter<string | null>, options: UsePushOptions = {}): UsePushReturn {
  const state = shallowRef<LinkState | null>(null);
  const event = shallowRef<PushEvent | null>(null);
  const error = shallowRef<ServerError | null>(null);
  let push: Push | null = null;

  function close(): void {
    const closing = push;
    push = null;
    closing?.close();
    state.value = null;
    event.value = null;
    error.value = null;
  }

  function open(name: string): void {
    const opened = connectPush(name, options);
    push = opened;
    state.value = opened.state;
    // A late event of a closed socket has no effect.
    const current = <T>(listener: (value: T) => void) => (value: T): void => {
      if (opened === push) listener(value);
    };
    opened.on('state', current((value) => { state.value = value; }));
    opened.on('event', current((value) => {
      event.value = value;
      options.onEvent?.(value, name);
    }));
    opened.on('error', current((value) => {
      error.value = value;
      options.onError?.(value, name);
    }));
  }

  const stop = watch(
    () => toValue(user),
    (name) => {
      close();
      if (name !== null) open(name);
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
    event: readonly(event) as Readonly<Ref<PushEvent | null>>,
    error: readonly(error),
    missed: (question) => push?.missed(question) ?? Promise.reject(new SendError('not_open', 'not_sent', 'question: not sent; no push socket is open')),
    retry: () => push?.retry(),
    setToken: (token) => push?.setToken(token),
    close: dispose,
  };
}
