/** The browser, as the client uses it. Tests and programs that are not browsers supply their own. */
export interface Environment {
  readonly WebSocket: new (url: string, protocols: string[]) => SocketLike;
  readonly fetch: (url: string, init: RequestInit) => Promise<Response>;
  readonly random: () => number;
  /** `online`, `offline`, `pagehide`, `pageshow`. */
  readonly page: EventTarget | null;
  /** `visibilitychange`. */
  readonly document: (EventTarget & { readonly visibilityState: string }) | null;
  /** The base of relative server addresses. */
  readonly location: string;
  readonly locks: LockManager | null;
  readonly BroadcastChannel: (new (name: string) => ChannelLike) | null;
}

export interface SocketLike {
  readonly readyState: number;
  onopen: ((event: Event) => void) | null;
  onmessage: ((event: MessageEvent) => void) | null;
  onclose: ((event: CloseEvent) => void) | null;
  send(text: string): void;
  close(code?: number, reason?: string): void;
}

export interface ChannelLike {
  onmessage: ((event: MessageEvent) => void) | null;
  postMessage(value: unknown): void;
  close(): void;
}

export const socketOpen = 1;

export function browserEnvironment(): Environment {
  return {
    WebSocket: globalThis.WebSocket,
    fetch: (url, init) => globalThis.fetch(url, init),
    random: Math.random,
    page: typeof window === 'undefined' ? null : window,
    document: typeof document === 'undefined' ? null : document,
    location: typeof location === 'undefined' ? 'http://127.0.0.1:8080/' : location.href,
    // Web Locks exist only in secure contexts: https and loopback addresses.
    locks: typeof navigator !== 'undefined' && 'locks' in navigator ? navigator.locks : null,
    BroadcastChannel: typeof BroadcastChannel === 'undefined' ? null : BroadcastChannel,
  };
}
