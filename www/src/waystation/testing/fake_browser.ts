/** A fake browser and server, for tests with fake timers. */
import type { ChannelLike, Environment, SocketLike } from '../environment';

type Handlers = Pick<SocketLike, 'onopen' | 'onmessage' | 'onclose'>;

/** One WebSocket, from the server's side. */
export class FakeSocket implements SocketLike {
  readyState = 0;
  readonly received: string[] = [];
  /** The close code of the client; null before it closes. */
  clientClosed: number | 'no code' | null = null;
  /** The last handlers: a browser may still call them after the client has removed them. */
  private readonly last: Handlers = { onopen: null, onmessage: null, onclose: null };
  private readonly live: Handlers = { onopen: null, onmessage: null, onclose: null };

  constructor(
    readonly url: string,
    readonly protocols: readonly string[],
  ) {}

  get onopen(): Handlers['onopen'] {
    return this.live.onopen;
  }
  set onopen(handler: Handlers['onopen']) {
    this.live.onopen = handler;
    this.last.onopen = handler ?? this.last.onopen;
  }
  get onmessage(): Handlers['onmessage'] {
    return this.live.onmessage;
  }
  set onmessage(handler: Handlers['onmessage']) {
    this.live.onmessage = handler;
    this.last.onmessage = handler ?? this.last.onmessage;
  }
  get onclose(): Handlers['onclose'] {
    return this.live.onclose;
  }
  set onclose(handler: Handlers['onclose']) {
    this.live.onclose = handler;
    this.last.onclose = handler ?? this.last.onclose;
  }

  send(text: string): void {
    this.received.push(text);
  }

  close(code?: number): void {
    if (this.readyState >= 2) return;
    this.readyState = 2;
    this.clientClosed = code ?? 'no code';
  }

  /** The frames of the client. */
  get frames(): Record<string, unknown>[] {
    return this.received.map((text) => JSON.parse(text) as Record<string, unknown>);
  }

  accept(): void {
    this.readyState = 1;
    this.live.onopen?.(new Event('open'));
  }

  sendFrame(frame: unknown): void {
    this.sendText(JSON.stringify(frame));
  }

  sendText(text: string): void {
    this.live.onmessage?.({ data: text } as MessageEvent);
  }

  drop(code = 1006): void {
    this.readyState = 3;
    this.live.onclose?.({ code } as CloseEvent);
  }

  /** Events of a released connection. */
  readonly late = {
    open: (): void => this.last.onopen?.(new Event('open')),
    message: (frame: unknown): void => this.last.onmessage?.({ data: JSON.stringify(frame) } as MessageEvent),
    close: (code: number): void => this.last.onclose?.({ code } as CloseEvent),
  };
}

/** The answer to a probe. `hidden`: from a server that does not allow the page's origin. */
export type ProbeAnswer = { readonly status: number; readonly body?: unknown; readonly headers?: Record<string, string> } | 'unreachable' | 'hidden';

class FakeDocument extends EventTarget {
  visibilityState = 'visible';
}

/** The state that all tabs of a browser share. */
export class FakeBrowser {
  readonly sockets: FakeSocket[] = [];
  readonly probes: { url: string; authorization: string | null; credentials: string | undefined }[] = [];
  probeAnswer: ProbeAnswer = { status: 426 };
  /** False: requests for a lock are rejected, as for a site that may not store anything. */
  givesLocks = true;
  /** False: messages between tabs are lost, as with a frozen tab. */
  channelsWork = true;
  random = 1;
  private readonly channels = new Map<string, Set<ChannelLike>>();
  private readonly lockQueues = new Map<string, (() => void)[]>();

  get socket(): FakeSocket {
    const last = this.sockets[this.sockets.length - 1];
    if (last === undefined) throw new Error('no socket was opened');
    return last;
  }

  tab(): FakeTab {
    return new FakeTab(this);
  }

  openChannel(name: string): ChannelLike {
    const peers = this.channels.get(name) ?? new Set<ChannelLike>();
    this.channels.set(name, peers);
    const works = (): boolean => this.channelsWork;
    const channel: ChannelLike = {
      onmessage: null,
      postMessage(value) {
        const data: unknown = structuredClone(value);
        if (!works()) return;
        for (const peer of [...peers]) if (peer !== channel) peer.onmessage?.({ data } as MessageEvent);
      },
      close: () => void peers.delete(channel),
    };
    peers.add(channel);
    return channel;
  }

  async requestLock(name: string, signal: AbortSignal | undefined, run: () => unknown): Promise<unknown> {
    if (!this.givesLocks) throw new DOMException('storage is blocked', 'SecurityError');
    const queue = this.lockQueues.get(name) ?? [];
    this.lockQueues.set(name, queue);
    let start: () => void = () => {};
    const turn = new Promise<void>((resolve, reject) => {
      start = resolve;
      signal?.addEventListener('abort', () => {
        const index = queue.indexOf(start);
        // The signal has no effect on the holder of the lock.
        if (index > 0) {
          queue.splice(index, 1);
          reject(new Error('aborted'));
        }
      });
    });
    queue.push(start);
    if (queue[0] === start) start();
    await turn;
    try {
      return await run();
    } finally {
      queue.shift();
      queue[0]?.();
    }
  }
}

/** One tab: page events, and the environment for the client. */
export class FakeTab {
  readonly page = new EventTarget();
  readonly document = new FakeDocument();
  readonly environment: Environment;

  constructor(browser: FakeBrowser, sharing = true) {
    const locks = {
      request: (name: string, options: { signal?: AbortSignal }, run: () => unknown) => browser.requestLock(name, options.signal, run),
    };
    this.environment = {
      WebSocket: class extends FakeSocket {
        constructor(url: string, protocols: string[]) {
          // As in a browser, each must be an HTTP token.
          if (protocols.some((one) => !/^[\w!#$%&'*+.^`|~-]+$/.test(one))) throw new DOMException('no such subprotocol', 'SyntaxError');
          super(url, protocols);
          browser.sockets.push(this);
        }
      },
      fetch: (url, init) => {
        const headers = new Headers(init.headers);
        browser.probes.push({ url, authorization: headers.get('Authorization'), credentials: init.credentials });
        if (browser.probeAnswer === 'hidden' && init.mode === 'no-cors') return Promise.resolve(Response.error());
        if (typeof browser.probeAnswer === 'string') return Promise.reject(new TypeError('failed to fetch'));
        const { status, body, headers: sent } = browser.probeAnswer;
        return Promise.resolve(new Response(JSON.stringify(body ?? null), { status, headers: sent ?? {} }));
      },
      random: () => browser.random,
      page: this.page,
      document: this.document,
      location: 'http://relay.example:8080/',
      locks: sharing ? (locks as unknown as LockManager) : null,
      BroadcastChannel: sharing
        ? (class {
            constructor(name: string) {
              return browser.openChannel(name);
            }
          } as unknown as new (name: string) => ChannelLike)
        : null,
    };
  }

  fire(name: 'online' | 'offline' | 'pagehide' | 'pageshow'): void {
    this.page.dispatchEvent(new Event(name));
  }

  show(state: 'visible' | 'hidden'): void {
    this.document.visibilityState = state;
    this.document.dispatchEvent(new Event('visibilitychange'));
  }
}

/** A JWT without a valid signature. */
export function fakeToken(claims: Record<string, unknown>): string {
  const part = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');
  return `${part({ alg: 'HS256' })}.${part(claims)}.signature`;
}
