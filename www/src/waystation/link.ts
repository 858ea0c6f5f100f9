import { backoffDelay, type Backoff } from './backoff';
import { socketOpen, type Environment, type SocketLike } from './environment';
import { parseFrame, subprotocol, type Dialect, type Frame } from './protocol';
import { readToken, type TokenReason, type TokenSource } from './token';

/** Why a link is away for now. */
export type WaitCause =
  /** No connection came about, and the server did not answer a plain request either. */
  | 'unreachable'
  /** The server is there and has no room: 503, 429 or close code 1013. */
  | 'full'
  /** The server said that it is going away: 1001. */
  | 'going_away'
  /** This client read too slowly: 4408. */
  | 'too_slow'
  /** The link was open and silent, and a heartbeat got no answer. */
  | 'silent'
  /** The application's token function failed, or did not answer in time. */
  | 'token_failed'
  /** The server turned one new token away after the other. */
  | 'turned_away'
  /** The link broke in some other way; `code` says how. */
  | 'lost';

/** Why a link is closed for good, until `retry` or a new token. */
export interface ClosedReason {
  readonly cause:
    /** `close` was called, or the page was left. */
    | 'left'
    /** The token ran out (4401) and there was no new one. */
    | 'expired'
    /** An administrator ended the user's sockets (4403). */
    | 'ended'
    /** The server refused the request, and would again. */
    | 'refused'
    /** The browser opens no such connection: of a token that is none, for example. */
    | 'unusable';
  /** The HTTP status of a refusal. */
  readonly status: number | null;
  /** The server's own code, such as `not_a_member`. */
  readonly code: string | null;
  readonly detail: string;
}

export type LinkState =
  | { readonly name: 'connecting'; readonly attempt: number }
  | { readonly name: 'open'; readonly since: number }
  | { readonly name: 'waiting'; readonly attempt: number; readonly retryAt: number; readonly cause: WaitCause; readonly code: number | null }
  | { readonly name: 'closed'; readonly reason: ClosedReason };

export interface LinkTuning {
  readonly backoff: Backoff;
  /** A handshake that takes longer counts as failed. */
  readonly connectDeadlineMs: number;
  /** After so long without a frame the link is asked whether it still lives. 0: never. */
  readonly heartbeatMs: number;
  /** How long the answer may take. */
  readonly heartbeatDeadlineMs: number;
  /** A link that held for so long starts its delays from the beginning again. */
  readonly stableMs: number;
  /** How long before its expiry a token is renewed. */
  readonly renewMs: number;
}

export const defaultTuning: LinkTuning = {
  backoff: { baseMs: 500, capMs: 30_000 },
  connectDeadlineMs: 10_000,
  heartbeatMs: 20_000,
  heartbeatDeadlineMs: 8_000,
  stableMs: 5_000,
  renewMs: 30_000,
};

export interface LinkOptions {
  /** The http or https address of the socket's route, without identity. */
  readonly url: URL;
  /** Named in the query where no token says who is calling. */
  readonly user: string | null;
  readonly token: TokenSource | null;
  readonly dialect: Dialect;
  readonly tuning: LinkTuning;
  readonly environment: Environment;
}

export interface LinkHandlers {
  readonly onState: (state: LinkState) => void;
  readonly onFrame: (frame: Frame, source: string) => void;
}

type Timer = 'retry' | 'connect' | 'heartbeat' | 'pong' | 'stable' | 'renew';

/** What a plain GET said about a handshake that failed: a browser does not show a socket's refusal. */
type Refusal =
  | { readonly kind: 'none' }
  | { readonly kind: 'unreachable' }
  | { readonly kind: 'later'; readonly afterMs: number }
  | { readonly kind: 'final' | 'identity'; readonly status: number; readonly code: string | null; readonly detail: string };

// The longest delay that setTimeout keeps; a longer one would fire at once.
const longestTimer = 2 ** 31 - 1;

/** A server that asks for a longer pause is asked again all the same: it may have been a mistake. */
const longestPauseMs = 5 * 60_000;

/** Tokens that live for seconds, or a clock that runs ahead, must not make a renewal follow the other. */
const renewalPauseMs = 5_000;

/** A handshake under way for so long when the network comes back began in the network that is gone. */
const staleHandshakeMs = 1_000;

/** Throws TypeError for what no server could be asked. */
export function checkOptions({ dialect, token }: LinkOptions): void {
  if (dialect === 'plain' && token !== null) {
    throw new TypeError('the plain dialect has no place for a token: use the cookie, or dialect "v1"');
  }
}

/**
 * One WebSocket that comes back: states, reconnection, heartbeat, token.
 *
 * Every asynchronous step carries the `socket` or `attempt` that it belongs to
 * and does nothing once that is no longer the current one, so that no late
 * event of an old connection can change a new one.
 */
export class Link {
  private current: LinkState = { name: 'connecting', attempt: 0 };
  private socket: SocketLike | null = null;
  /** Changes with everything that makes work under way obsolete. */
  private epoch = 0;
  private attempt = 0;
  private notBefore = 0;
  /** When the handshake began. Infinity while the application is asked for a token. */
  private dialledAt = 0;
  private token: string | null = null;
  /** What `token` was before it was renewed on the open socket. */
  private tokenBefore: string | null = null;
  private offeredToken: string | null = null;
  /** For the next connection only. */
  private nextToken: string | null = null;
  /** A new token has been tried at once; the next one, unless this one holds, is tried after a delay. */
  private replaced = false;
  private lastHeard = 0;
  private pingId = 0;
  /** A ping whose deadline runs. */
  private pingPending = false;
  /** Pings on this socket whose own answer has not come. */
  private pingsOut = 0;
  private answersPings = false;
  private resumeOnShow = false;
  private disposed = false;
  private readonly timers = new Map<Timer, ReturnType<typeof setTimeout>>();
  private readonly stopListening: () => void;

  constructor(
    private readonly options: LinkOptions,
    private readonly handlers: LinkHandlers,
    /** Why it is closed from the start; null: it connects. */
    closed: ClosedReason | null = null,
  ) {
    checkOptions(options);
    this.stopListening = this.listenToPage();
    if (closed === null) this.connect();
    else this.enter({ name: 'closed', reason: closed });
  }

  get state(): LinkState {
    return this.current;
  }

  /** True if the text was handed to an open socket. */
  send(text: string): boolean {
    if (this.current.name !== 'open' || this.socket?.readyState !== socketOpen) return false;
    this.socket.send(text);
    return true;
  }

  /** Connects at once, whatever the state; does nothing to a link that is open, connecting or disposed of. */
  retry(): void {
    if (this.disposed || this.current.name === 'open' || this.current.name === 'connecting') return;
    this.notBefore = 0;
    this.attempt = 0;
    this.replaced = false;
    this.connect();
  }

  /**
   * A token that the application has just received: used on the open socket,
   * and from now on. One that was turned away connects no closed link.
   */
  setToken(token: string): void {
    if (this.disposed) return;
    this.offeredToken = token;
    this.nextToken = null;
    const { current } = this;
    if (token === this.token) return;
    if (current.name === 'open') {
      this.refresh(token);
    } else if (current.name === 'connecting') {
      // What is under way without a socket is about an older token.
      if (this.socket === null) this.connect();
    } else if (current.name === 'waiting' || current.reason.cause !== 'left') {
      this.retry();
    }
  }

  /** Asks an open link for a sign of life now. */
  check(): void {
    if (this.current.name === 'open') this.ping();
  }

  /** Closes with 1000. `retry` opens again. A link that is closed already keeps its reason. */
  close(): void {
    this.resumeOnShow = false;
    if (this.current.name === 'closed') return;
    this.drop(1000);
    this.enter({ name: 'closed', reason: { cause: 'left', status: null, code: null, detail: '' } });
  }

  /** Closes, and lets go of the page's events: for good. */
  dispose(): void {
    this.close();
    this.disposed = true;
    this.stopListening();
  }

  // --- connecting -----------------------------------------------------------

  private connect(): void {
    this.drop(null);
    this.token = null;
    this.enter({ name: 'connecting', attempt: this.attempt });
    const token = this.nextToken;
    this.nextToken = null;
    if (token === null) this.bring('connect', (brought) => this.dial(brought));
    else this.dial(token);
  }

  private dial(token: string | null): void {
    this.token = token;
    this.dialledAt = Date.now();
    const { environment, dialect, tuning } = this.options;
    const protocols = dialect === 'plain' ? [] : [subprotocol];
    if (token !== null) protocols.push(`bearer.${token}`);
    const address = this.address(token);
    address.protocol = address.protocol === 'https:' ? 'wss:' : 'ws:';
    let socket: SocketLike;
    try {
      socket = new environment.WebSocket(address.href, protocols);
    } catch (error) {
      return this.end({ cause: 'unusable', status: null, code: null, detail: error instanceof Error ? error.message : '' });
    }
    this.socket = socket;

    let opened = false;
    this.after('connect', tuning.connectDeadlineMs, () => this.failed(socket));
    socket.onopen = () => {
      if (socket !== this.socket) return;
      opened = true;
      this.opened();
    };
    socket.onmessage = (event) => {
      if (socket !== this.socket) return;
      this.heard(event.data);
    };
    socket.onclose = (event) => {
      if (socket !== this.socket) return;
      if (opened) this.closed(event.code);
      else this.failed(socket);
    };
  }

  private opened(): void {
    this.cancel('connect');
    this.lastHeard = Date.now();
    this.answersPings = false;
    this.pingsOut = 0;
    // Attempts count on until the link has held for a while: a server that
    // accepts and closes at once is not asked without a pause.
    this.after('stable', this.options.tuning.stableMs, () => {
      this.attempt = 0;
      this.replaced = false;
    });
    this.scheduleHeartbeat();
    this.scheduleRenewal();
    this.enter({ name: 'open', since: this.lastHeard });
  }

  /** The handshake did not come about. */
  private failed(socket: SocketLike): void {
    this.drop(null, socket);
    const epoch = this.epoch;
    void this.askWhy().then((refusal) => {
      if (epoch !== this.epoch) return;
      switch (refusal.kind) {
        case 'none':
          return this.wait('lost', null);
        case 'unreachable':
          return this.wait('unreachable', null);
        case 'later':
          return this.wait('full', null, refusal.afterMs);
        case 'identity':
        case 'final': {
          const { status, code, detail } = refusal;
          const reason: ClosedReason = { cause: 'refused', status, code, detail };
          return refusal.kind === 'final' ? this.end(reason) : this.newTokenOr('refused', reason);
        }
      }
    });
  }

  /** The open socket was closed. */
  private closed(code: number): void {
    this.drop(null);
    switch (code) {
      case 4401:
        return this.newTokenOr('expired', { cause: 'expired', status: null, code: null, detail: '' });
      case 4403:
        return this.newTokenOr('ended', { cause: 'ended', status: null, code: null, detail: '' });
      case 1001:
        return this.wait('going_away', code);
      case 1013:
        return this.wait('full', code);
      case 4408:
        return this.wait('too_slow', code);
      default:
        return this.wait('lost', code);
    }
  }

  /**
   * Goes on only with a token other than the one that was turned away: at
   * once, and with a delay where the one before was such another already.
   */
  private newTokenOr(reason: TokenReason, otherwise: ClosedReason): void {
    const turnedAway = this.token;
    if (this.offeredToken === turnedAway) this.offeredToken = null;
    this.bring(reason, (token) => {
      if (token === null || token === turnedAway) return this.end(otherwise);
      this.nextToken = token;
      if (this.replaced) return this.wait('turned_away', null);
      this.replaced = true;
      this.attempt += 1;
      this.connect();
    });
  }

  private wait(cause: WaitCause, code: number | null, atLeastMs = 0): void {
    // On top of what the server asked for: whoever heard the same comes back spread, too.
    const delay = atLeastMs + backoffDelay(this.attempt, this.options.tuning.backoff, this.options.environment.random);
    this.attempt += 1;
    this.notBefore = Date.now() + atLeastMs;
    this.after('retry', delay, () => this.connect());
    this.enter({ name: 'waiting', attempt: this.attempt, retryAt: Date.now() + delay, cause, code });
  }

  private end(reason: ClosedReason): void {
    this.drop(null);
    this.enter({ name: 'closed', reason });
  }

  /** Asks by a plain GET, which passes the same checks, why the socket was refused. */
  private async askWhy(): Promise<Refusal> {
    const abort = new AbortController();
    const deadline = setTimeout(() => abort.abort(), this.options.tuning.connectDeadlineMs);
    try {
      const response = await this.options.environment.fetch(this.address(this.token).href, {
        headers: this.token === null ? {} : { Authorization: `Bearer ${this.token}` },
        // The cookie that the socket was sent with, whosever origin it is.
        credentials: 'include',
        cache: 'no-store',
        signal: abort.signal,
      });
      const { status } = response;
      if (status === 426) return { kind: 'none' };
      if (status === 429 || status >= 500 && status !== 501) {
        const seconds = Number(response.headers.get('Retry-After') ?? '0');
        return { kind: 'later', afterMs: seconds > 0 ? Math.min(seconds * 1000, longestPauseMs) : 0 };
      }
      const frame = parseFrame(await response.text());
      const { code, detail } = frame.kind === 'error' ? frame.error : { code: null, detail: '' };
      if (status === 401 || status === 403) return { kind: 'identity', status, code, detail };
      if (status >= 400) return { kind: 'final', status, code, detail };
      // Something else answers at this address, a proxy's page for example.
      return { kind: 'unreachable' };
    } catch {
      return { kind: 'unreachable' };
    } finally {
      clearTimeout(deadline);
    }
  }

  private address(token: string | null): URL {
    const address = new URL(this.options.url);
    if (token === null && this.options.user !== null) address.searchParams.set('user', this.options.user);
    return address;
  }

  // --- sign of life -----------------------------------------------------------

  private heard(source: unknown): void {
    this.lastHeard = Date.now();
    const frame = parseFrame(source);
    // Any frame shows that the link lives, not only the answer.
    this.pingPending = false;
    this.cancel('pong');
    if (this.isAnswerToPing(frame)) {
      if (this.pingsOut > 0) this.pingsOut -= 1;
      this.answersPings = true;
      return;
    }
    if (frame.kind === 'error' && frame.error.code === 'bad_token') this.keepOldToken();
    this.handlers.onFrame(frame, typeof source === 'string' ? source : '');
  }

  /**
   * A browser does not show the protocol's own pings, so the question is a
   * frame. A v1 server that does not know it answers too, with a refusal.
   */
  private ping(): void {
    if (this.options.dialect === 'plain' || this.pingPending) return;
    this.pingId += 1;
    if (!this.send(JSON.stringify({ ping: this.pingId, id: `ping-${this.pingId}` }))) return;
    this.pingPending = true;
    this.pingsOut += 1;
    this.after('pong', this.options.tuning.heartbeatDeadlineMs, () => void this.unanswered());
  }

  private isAnswerToPing(frame: Frame): boolean {
    if (frame.kind === 'pong') return true;
    if (this.pingsOut === 0 || frame.kind !== 'error') return false;
    const { code, id } = frame.error;
    // Named by its id it may be any refusal: of one who says too much, for example.
    return id === null ? code === 'bad_envelope' : id.startsWith('ping-');
  }

  private async unanswered(): Promise<void> {
    const { socket } = this;
    if (socket === null) return;
    this.pingPending = false;
    if (!this.answersPings) {
      // This socket never answered a ping, so its silence proves nothing by
      // itself: only a server that does not answer a request either is gone.
      const heard = this.lastHeard;
      const refusal = await this.askWhy();
      if (socket !== this.socket) return;
      if (refusal.kind !== 'unreachable' || heard !== this.lastHeard) return this.scheduleHeartbeat();
    }
    // Not 1000: the user did not leave.
    this.drop(4000);
    this.wait('silent', null);
  }

  private scheduleHeartbeat(): void {
    const { heartbeatMs } = this.options.tuning;
    if (heartbeatMs === 0 || this.options.dialect === 'plain') return;
    const due = this.lastHeard + heartbeatMs - Date.now();
    this.after('heartbeat', Math.max(0, due), () => {
      if (Date.now() - this.lastHeard >= heartbeatMs) {
        this.ping();
        this.after('heartbeat', heartbeatMs, () => this.scheduleHeartbeat());
      } else {
        this.scheduleHeartbeat();
      }
    });
  }

  // --- token ------------------------------------------------------------------

  /**
   * Brings the newest token: what was handed over, or what the application
   * answers. An answer that comes after something else has begun goes nowhere.
   */
  private bring(reason: TokenReason, use: (token: string | null) => void): void {
    const source = this.options.token;
    if (this.offeredToken !== null || typeof source !== 'function') return use(this.offeredToken ?? (source as string | null));
    if (this.current.name !== 'connecting') this.enter({ name: 'connecting', attempt: this.attempt });
    const { epoch } = this;
    const failed = (): void => {
      if (epoch !== this.epoch) return;
      this.drop(null);
      this.wait('token_failed', null);
    };
    this.dialledAt = Infinity;
    this.after('connect', this.options.tuning.connectDeadlineMs, failed);
    this.ask(source, reason).then((token) => {
      if (epoch !== this.epoch) return;
      this.cancel('connect');
      use(token);
    }, failed);
  }

  /** A function that throws and one that rejects are the same. */
  private async ask(source: Exclude<TokenSource, string>, reason: TokenReason): Promise<string | null> {
    return source(reason);
  }

  private refresh(token: string): void {
    if (!this.send(JSON.stringify({ token }))) return;
    this.tokenBefore = this.token;
    this.token = token;
    this.scheduleRenewal();
  }

  /** The socket lives as long as the token before does. */
  private keepOldToken(): void {
    if (this.tokenBefore === null) return;
    if (this.offeredToken === this.token) this.offeredToken = null;
    this.token = this.tokenBefore;
    this.tokenBefore = null;
    this.scheduleRenewal();
  }

  private scheduleRenewal(): void {
    const source = this.options.token;
    const expiresAt = this.token === null ? null : (readToken(this.token)?.expiresAt ?? null);
    if (expiresAt === null || typeof source !== 'function') return;
    const left = expiresAt - Date.now();
    // Too late already: the server closes with 4401, and that asks again.
    if (left <= 0) return;
    const due = Math.max(renewalPauseMs, left - Math.min(this.options.tuning.renewMs, left / 2));
    this.after('renew', Math.min(longestTimer, due), () => {
      if (due > longestTimer) return this.scheduleRenewal();
      const { socket } = this;
      this.ask(source, 'expiring').then(
        (token) => {
          if (socket === this.socket && token !== null && token !== this.token) this.refresh(token);
        },
        () => {
          // The old token still holds for a while; at its end 4401 asks once more.
        },
      );
    });
  }

  // --- the page -----------------------------------------------------------------

  private listenToPage(): () => void {
    const { page, document } = this.options.environment;
    const wake = (): void => {
      const now = Date.now();
      const { name } = this.current;
      if ((name === 'waiting' && now >= this.notBefore) || (name === 'connecting' && now - this.dialledAt >= staleHandshakeMs)) this.connect();
      else this.check();
    };
    const onOnline = (): void => {
      // What failed, failed for want of a network.
      this.attempt = 0;
      wake();
    };
    const onVisibility = (): void => {
      if (document?.visibilityState === 'visible') wake();
    };
    const onOffline = (): void => this.check();
    const onHide = (): void => {
      // A clean close tells the server at once that the user left. The page
      // may come back out of the browser's cache: `pageshow` then reconnects.
      const resume = this.current.name !== 'closed';
      this.close();
      this.resumeOnShow = resume;
    };
    const onShow = (): void => {
      if (this.resumeOnShow) this.retry();
      this.resumeOnShow = false;
    };
    page?.addEventListener('online', onOnline);
    page?.addEventListener('offline', onOffline);
    page?.addEventListener('pagehide', onHide);
    page?.addEventListener('pageshow', onShow);
    document?.addEventListener('visibilitychange', onVisibility);
    return () => {
      page?.removeEventListener('online', onOnline);
      page?.removeEventListener('offline', onOffline);
      page?.removeEventListener('pagehide', onHide);
      page?.removeEventListener('pageshow', onShow);
      document?.removeEventListener('visibilitychange', onVisibility);
    };
  }

  // --- small things -------------------------------------------------------------

  /** Lets go of the current socket and of everything that waits on it. */
  private drop(code: number | null, socket: SocketLike | null = this.socket): void {
    this.epoch += 1;
    this.socket = null;
    this.tokenBefore = null;
    this.pingPending = false;
    for (const name of [...this.timers.keys()]) this.cancel(name);
    if (socket !== null) {
      socket.onopen = socket.onmessage = socket.onclose = null;
      // Closing one that is closed already is allowed and does nothing.
      if (code === null) socket.close();
      else socket.close(code);
    }
  }

  private enter(state: LinkState): void {
    this.current = state;
    this.handlers.onState(state);
  }

  private after(name: Timer, ms: number, run: () => void): void {
    this.cancel(name);
    this.timers.set(name, setTimeout(() => {
      this.timers.delete(name);
      run();
    }, ms));
  }

  private cancel(name: Timer): void {
    clearTimeout(this.timers.get(name));
    this.timers.delete(name);
  }
}
