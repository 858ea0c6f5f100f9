import type { ChannelLike, Environment } from './environment';
import { checkOptions, Link, type LinkHandlers, type LinkOptions } from './link';
import type { ClosedReason, LinkState } from './link_state';
import { listenToPage } from './page_events';
import { newMessageId, parseFrame } from './protocol';
import { SendError } from './send_error';
import { registerLink, wakeOthers } from './wake';

/** A message between the tabs. */
type TabMessage =
  /** A new tab asks for the state. */
  | { readonly kind: 'hello' }
  | { readonly kind: 'state'; readonly state: LinkState; readonly notBefore: number }
  | { readonly kind: 'frame'; readonly source: string }
  | { readonly kind: 'retry' }
  /** A link of the sender's tab has opened. */
  | { readonly kind: 'wake' }
  | { readonly kind: 'token'; readonly token: string }
  /** A question for the leader, and its answer for the tab that asked. Null: the leader has none. */
  | { readonly kind: 'ask'; readonly id: string; readonly text: string }
  | { readonly kind: 'answer'; readonly id: string; readonly source: string | null };

interface LockRequest {
  readonly abort: AbortController;
  release: (() => void) | null;
}

/**
 * One link for all tabs of a browser. The tab that holds a Web Lock is the leader: it has the socket, and broadcasts each
 * frame to the other tabs. When that tab closes, the browser gives the lock to another one, which connects. For a moment
 * no tab is connected, and the relay reports the user as not reached.
 */
export class SharedLink {
  private current: LinkState = { name: 'connecting', attempt: 0 };
  private readonly name: string;
  /** Null if disposed, or if the browser refuses locks. */
  private channel: ChannelLike | null;
  private readonly stopListening: () => void;
  private readonly unregister: () => void;
  /** Null while the page is hidden away in the browser's cache. */
  private lock: LockRequest | null = null;
  /** Null in tabs that are not the leader. */
  private link: Link | null = null;
  private newestToken: string | null = null;
  /** When the server is at its limit, this tab does not connect earlier as the leader. */
  private notBefore = 0;
  /** The questions of this tab to the leader, by id. Called with null if there is no answer. */
  private readonly questions = new Map<string, (source: string | null) => void>();
  /** This tab has offered a token since the link was last stable. */
  private tokenOffered = false;
  private disposed = false;

  static supported(environment: Environment): boolean {
    return environment.locks !== null && environment.BroadcastChannel !== null;
  }

  constructor(
    readonly options: LinkOptions,
    private readonly handlers: LinkHandlers,
  ) {
    const { locks, BroadcastChannel } = options.environment;
    checkOptions(options);
    if (locks === null || BroadcastChannel === null) throw new TypeError('shared: this browser has no Web Locks; use a link per tab');
    this.name = `waystation ${options.protocol} ${options.url.href}`;
    this.channel = new BroadcastChannel(this.name);
    this.channel.onmessage = (event) => this.onMessage(event.data as TabMessage);
    this.stopListening = listenToPage(options.environment, {
      pagehide: () => this.leave(),
      // No effect when the page is shown for the first time.
      pageshow: () => this.start(),
    });
    this.unregister = registerLink(this);
  }

  /** Joins the other tabs. */
  start(): void {
    const { locks } = this.options.environment;
    if (locks === null || this.lock !== null || this.disposed) return;
    const lock: LockRequest = { abort: new AbortController(), release: null };
    this.lock = lock;
    locks
      .request(this.name, { signal: lock.abort.signal }, () => {
        if (lock !== this.lock) return;
        // The browser holds the lock until this promise is settled: a listener of the state may close the link at once.
        return new Promise<void>((resolve) => {
          lock.release = resolve;
          this.lead();
        });
      })
      .catch(() => {
        // This tab left while it waited. Otherwise the browser refuses locks,
        // for example because the site may not store anything.
        if (lock !== this.lock) return;
        this.stopSharing();
        this.lead();
      });
    this.broadcast({ kind: 'hello' });
  }

  get state(): LinkState {
    return this.current;
  }

  /** True in the tab that has the socket. */
  get leading(): boolean {
    return this.link !== null;
  }

  /** Sends a question. Resolves with the text of the answer, rejects with a SendError. */
  ask(text: string): Promise<string> {
    if (this.link !== null) return this.link.ask(text);
    if (this.current.name !== 'open') return Promise.reject(new SendError('not_open', 'not_sent', 'question: not sent; there is no connection'));
    const id = newMessageId();
    return new Promise((resolve, reject) => {
      // The leader may be frozen. Questions of other tabs may be ahead.
      const timer = setTimeout(() => this.questions.get(id)?.(null), 2 * this.options.tuning.connectDeadlineMs);
      this.questions.set(id, (source) => {
        clearTimeout(timer);
        this.questions.delete(id);
        if (source !== null) resolve(source);
        else reject(new SendError('no_answer', 'unknown', 'question: no answer from the tab with the connection'));
      });
      this.broadcast({ kind: 'ask', id, text });
    });
  }

  retry(): void {
    if (this.link !== null) this.link.retry();
    else this.broadcast({ kind: 'retry' });
  }

  setToken(token: string): void {
    this.newestToken = token;
    if (this.link !== null) this.link.setToken(token);
    else this.broadcast({ kind: 'token', token });
  }

  dispose(): void {
    if (this.disposed) return;
    this.leave();
    this.disposed = true;
    this.stopListening();
    this.unregister();
    this.stopSharing();
    for (const settle of [...this.questions.values()]) settle(null);
  }

  /** Another link of this tab has opened. The leader's link is registered itself. */
  wake(): void {
    if (this.link === null && this.current.name !== 'open') this.broadcast({ kind: 'wake' });
  }

  private stopSharing(): void {
    if (this.channel === null) return;
    this.channel.onmessage = null;
    this.channel.close();
    this.channel = null;
  }

  private leave(): void {
    const { lock, link } = this;
    this.lock = null;
    link?.dispose();
    this.link = null;
    lock?.release?.();
    lock?.abort.abort();
  }

  private lead(): void {
    const { current, newestToken } = this;
    // A link that was closed for all tabs stays closed under the next leader, unless that one has a token.
    const closed = newestToken === null && current.name === 'closed' && current.reason.cause !== 'left' ? current.reason : null;
    const handlers: LinkHandlers = {
      onState: (state) => {
        // First, since a listener may change the state again.
        const { notBefore } = link;
        this.broadcast({ kind: 'state', state, notBefore });
        this.setState(state, notBefore);
      },
      onFrame: (frame, source) => {
        this.broadcast({ kind: 'frame', source });
        this.handlers.onFrame(frame, source);
      },
    };
    const link = new Link(this.options, handlers);
    this.link = link;
    if (newestToken !== null) link.setToken(newestToken);
    link.start(closed, this.notBefore);
  }

  private onMessage(message: TabMessage): void {
    const { link } = this;
    if (link !== null) {
      if (message.kind === 'hello') this.broadcast({ kind: 'state', state: link.state, notBefore: link.notBefore });
      else if (message.kind === 'retry') link.retry();
      else if (message.kind === 'token') link.setToken(message.token);
      else if (message.kind === 'wake') link.wake();
      else if (message.kind === 'ask') {
        const answer = (source: string | null): void => this.broadcast({ kind: 'answer', id: message.id, source });
        link.ask(message.text).then(answer, () => answer(null));
      }
    } else if (message.kind === 'state') {
      const before = this.current;
      if (before.name === 'open' && Date.now() - before.since >= this.options.tuning.stableMs) this.tokenOffered = false;
      this.setState(message.state, message.notBefore);
      if (message.state.name === 'open' && before.name !== 'open') wakeOthers(this);
      if (message.state.name === 'closed') void this.offerToken(message.state.reason);
    } else if (message.kind === 'frame') {
      this.handlers.onFrame(parseFrame(message.source), message.source);
    } else if (message.kind === 'answer') {
      this.questions.get(message.id)?.(message.source);
    }
  }

  /**
   * Offers the leader a token when it has none left. A tab offers one token, and another only after the link was stable,
   * so that the tabs do not repeat tokens that the server rejects.
   */
  private async offerToken({ cause, status }: ClosedReason): Promise<void> {
    const source = this.options.token;
    const reason = cause === 'expired' || (cause === 'refused' && (status === 401 || status === 403)) ? cause : null;
    if (reason === null || source === null || this.tokenOffered || this.disposed) return;
    this.tokenOffered = true;
    try {
      const token = typeof source === 'function' ? await source(reason) : source;
      if (token !== null) this.broadcast({ kind: 'token', token });
    } catch {
      // This tab has no token either.
    }
  }

  private setState(state: LinkState, notBefore: number): void {
    // The leader reports `left` when it closes. For the other tabs, a takeover follows.
    const shown: LinkState =
      this.link === null && state.name === 'closed' && state.reason.cause === 'left' ? { name: 'connecting', attempt: 0 } : state;
    this.current = shown;
    this.notBefore = notBefore;
    if (shown.name !== 'open') for (const settle of [...this.questions.values()]) settle(null);
    this.handlers.onState(shown);
  }

  private broadcast(message: TabMessage): void {
    this.channel?.postMessage(message);
  }
}
