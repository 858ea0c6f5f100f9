import { backoffDelay } from './backoff';
import { createCredentials } from './credentials';
import { socketOpen, type Environment, type SocketLike } from './environment';
import { createHeartbeat } from './heartbeat';
import type { ClosedReason, LinkState, LinkTuning, WaitCause } from './link_state';
import { listenToPage } from './page_events';
import { probeRefusal, type Refusal } from './probe';
import { parseFrame, subprotocol, type Frame, type Protocol } from './protocol';
import { createQuestions } from './questions';
import { createTimers } from './timers';
import type { TokenReason, TokenSource } from './token';
import { registerLink, wakeOthers } from './wake';

export interface LinkOptions {
  /** The http or https address of the socket's route, without identity. */
  readonly url: URL;
  /** Named in the query if there is no token. */
  readonly user: string | null;
  readonly token: TokenSource | null;
  readonly protocol: Protocol;
  readonly tuning: LinkTuning;
  readonly environment: Environment;
}

export interface LinkHandlers {
  readonly onState: (state: LinkState) => void;
  readonly onFrame: (frame: Frame, source: string) => void;
}

/** When the network returns, an upgrade that has been pending this long belongs to the old network. */
const staleUpgradeMs = 1_000;

/** Throws TypeError for a token with the plain protocol. */
export function checkOptions({ protocol, token }: LinkOptions): void {
  if (protocol === 'plain' && token !== null) {
    throw new TypeError('token: the plain protocol cannot carry one; use the cookie, or protocol "v1"');
  }
}

/**
 * One WebSocket that reconnects: the state machine, and the retries. Heartbeat, questions, token, probe and page
 * events are parts of their own.
 *
 * Each asynchronous step keeps the `socket` or `epoch` that it belongs to. It does nothing once that is no longer the
 * current one, so that a late event of an old connection cannot change a new one.
 */
export class Link {
  private current: LinkState = { name: 'connecting', attempt: 0 };
  private socket: SocketLike | null = null;
  /** Changes when pending work becomes obsolete. */
  private epoch = 0;
  private attempt = 0;
  /** The earliest time for the next attempt that the server allows. */
  notBefore = 0;
  /** When the upgrade was sent. Infinity while the token function runs. */
  private upgradeSentAt = 0;
  /** The token for the next attempt, instead of a fetched one. */
  private nextToken: string | null = null;
  /** A new token was tried without a delay. The next one waits, unless this connection becomes stable. */
  private tokenReplaced = false;
  /** Another link woke this one. It is woken again only after a stable connection, so that two links cannot keep each other busy. */
  private woken = false;
  private resumeOnShow = false;
  private disposed = false;
  /** An attempt is about to begin, and uses a token that is offered now. */
  private beginning = true;
  private readonly timers = createTimers<'retry' | 'connect' | 'stable'>();
  private readonly credentials;
  private readonly heartbeat;
  private readonly questions;
  private readonly stopListening: () => void;
  private readonly unregister: () => void;

  /** Call `start` next: its handlers may use the link. */
  constructor(
    readonly options: LinkOptions,
    private readonly handlers: LinkHandlers,
  ) {
    checkOptions(options);
    const { environment, tuning } = options;
    const send = (text: string): boolean => this.send(text);
    this.credentials = createCredentials(options.token, tuning.renewMs, send);
    this.questions = createQuestions(send, tuning.connectDeadlineMs, () => this.check());
    // The plain protocol has no ping.
    this.heartbeat =
      options.protocol === 'plain'
        ? null
        : createHeartbeat(tuning, {
            send,
            isReachable: async () => (await this.probe()).kind !== 'unreachable',
            onDead: () => {
              // Not 1000: the user did not leave.
              this.release(4000);
              this.scheduleRetry('silent', null);
            },
          });
    this.stopListening = listenToPage(environment, {
      online: () => {
        // The attempts failed because there was no network.
        this.attempt = 0;
        this.connectOrCheck();
      },
      offline: () => this.check(),
      visible: () => this.connectOrCheck(),
      pagehide: () => {
        // A clean close tells the server at once that the user left. The page
        // may return from the browser's cache: `pageshow` then reconnects.
        const resume = this.current.name !== 'closed';
        this.close();
        this.resumeOnShow = resume;
      },
      pageshow: () => {
        if (this.resumeOnShow && this.current.name === 'closed') this.begin();
        this.resumeOnShow = false;
      },
    });
    this.unregister = registerLink(this);
  }

  /** Connects, but not before this time, in milliseconds since 1970. Or starts closed for this reason. */
  start(closed: ClosedReason | null = null, notBefore = 0): void {
    this.notBefore = notBefore;
    if (closed === null) this.begin();
    else this.setState({ name: 'closed', reason: closed });
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

  /** Sends a question. Resolves with the text of the answer, rejects with a SendError. */
  ask(text: string): Promise<string> {
    return this.questions.ask(text);
  }

  /** Connects now, also before the time that the server allows. No effect on a link that is open, connecting or disposed. */
  retry(): void {
    if (this.disposed || this.current.name === 'open' || this.current.name === 'connecting') return;
    this.notBefore = 0;
    this.begin();
  }

  /**
   * Uses a token that the application has just received, on the open socket and for later connections. A token that the
   * server has just rejected does not open a closed link.
   */
  setToken(token: string): void {
    if (this.disposed) return;
    this.credentials.offer(token);
    this.nextToken = null;
    const { current } = this;
    if (token === this.credentials.current) return;
    if (current.name === 'open') {
      this.credentials.refresh(token);
    } else if (current.name === 'connecting') {
      // An attempt without a socket is still fetching an older token.
      if (this.socket === null && !this.beginning) this.connect();
    } else if (current.name === 'waiting' || current.reason.cause !== 'left') {
      this.retry();
    }
  }

  /** Sends a ping on an open link now. */
  check(): void {
    if (this.current.name === 'open') this.heartbeat?.check();
  }

  /** Closes with 1000. `retry` opens again. A link that is already closed keeps its reason. */
  close(): void {
    this.resumeOnShow = false;
    if (this.current.name === 'closed') return;
    this.release(1000);
    this.setState({ name: 'closed', reason: { cause: 'left', status: null, code: null, detail: '' } });
  }

  /** Closes for good, and stops listening to the page. */
  dispose(): void {
    // First, so that a listener of the state cannot open it again.
    this.disposed = true;
    this.close();
    this.stopListening();
    this.unregister();
  }

  /** Another link to this server has opened. A server at its limit chose the delay itself. */
  wake(): void {
    const { current } = this;
    if (this.woken || !this.isDelayed() || (current.name === 'waiting' && current.cause === 'full')) return;
    this.woken = true;
    this.connect();
  }

  private isDelayed(): boolean {
    const now = Date.now();
    const { name } = this.current;
    return (name === 'waiting' && now >= this.notBefore) || (name === 'connecting' && now - this.upgradeSentAt >= staleUpgradeMs);
  }

  private connectOrCheck(): void {
    if (this.isDelayed()) this.connect();
    else this.check();
  }

  /** Connects without the delay of earlier failures, but not before the server allows it. */
  private begin(): void {
    this.attempt = 0;
    this.tokenReplaced = false;
    const left = this.notBefore - Date.now();
    if (left > 0) this.scheduleRetry('full', null, left);
    else this.connect();
  }

  private connect(): void {
    this.release(null);
    this.credentials.use(null);
    const { epoch } = this;
    this.beginning = true;
    this.setState({ name: 'connecting', attempt: this.attempt });
    this.beginning = false;
    // A listener has closed the link.
    if (epoch !== this.epoch) return;
    const token = this.nextToken;
    this.nextToken = null;
    if (token === null) this.fetchToken('connect', (fetched) => this.openSocket(fetched));
    else this.openSocket(token);
  }

  /** Fetches the newest token, and drops it if something else has begun meanwhile. */
  private fetchToken(reason: TokenReason, use: (token: string | null) => void): void {
    const { epoch } = this;
    const fetched = this.credentials.fetch(reason);
    if (fetched === null || typeof fetched === 'string') return use(fetched);
    const onFailed = (): void => {
      if (epoch !== this.epoch) return;
      this.release(null);
      this.scheduleRetry('token_failed', null);
    };
    fetched.then((token) => {
      if (epoch !== this.epoch) return;
      this.timers.stop('connect');
      use(token);
    }, onFailed);
    // The token function has closed the link, or offered a token.
    if (epoch !== this.epoch) return;
    this.upgradeSentAt = Infinity;
    this.timers.start('connect', this.options.tuning.connectDeadlineMs, onFailed);
    // Last: a listener may do so too.
    if (this.current.name !== 'connecting') this.setState({ name: 'connecting', attempt: this.attempt });
  }

  private openSocket(token: string | null): void {
    this.credentials.use(token);
    this.upgradeSentAt = Date.now();
    const { environment, protocol, tuning } = this.options;
    const protocols = protocol === 'plain' ? [] : [subprotocol];
    if (token !== null) protocols.push(`bearer.${token}`);
    const address = this.address(token);
    address.protocol = address.protocol === 'https:' ? 'wss:' : 'ws:';
    let socket: SocketLike;
    try {
      socket = new environment.WebSocket(address.href, protocols);
    } catch (error) {
      return this.closeWith({ cause: 'unusable', status: null, code: null, detail: error instanceof Error ? error.message : '' });
    }
    this.socket = socket;

    let opened = false;
    this.timers.start('connect', tuning.connectDeadlineMs, () => this.onUpgradeFailed(socket));
    socket.onopen = () => {
      if (socket !== this.socket) return;
      opened = true;
      this.onOpen();
    };
    socket.onmessage = (event) => {
      if (socket === this.socket) this.onData(event.data);
    };
    socket.onclose = (event) => {
      if (socket !== this.socket) return;
      if (opened) this.onClose(event.code);
      else this.onUpgradeFailed(socket);
    };
  }

  private onOpen(): void {
    this.timers.stop('connect');
    // A server that accepts and closes at once must not reset the backoff.
    this.timers.start('stable', this.options.tuning.stableMs, () => {
      this.attempt = 0;
      this.tokenReplaced = false;
      this.woken = false;
    });
    this.heartbeat?.start();
    this.credentials.scheduleRenewal();
    this.setState({ name: 'open', since: Date.now() });
    wakeOthers(this);
  }

  private onData(source: unknown): void {
    const frame = parseFrame(source);
    if (this.heartbeat?.received(frame)) return;
    if (frame.kind === 'error' && frame.error.code === 'bad_token') this.credentials.restore();
    const text = typeof source === 'string' ? source : '';
    if (!this.questions.received(frame, text)) this.handlers.onFrame(frame, text);
  }

  private onUpgradeFailed(socket: SocketLike): void {
    this.release(null, socket);
    const { epoch } = this;
    void this.probe().then((refusal) => {
      if (epoch !== this.epoch) return;
      switch (refusal.kind) {
        case 'none':
          return this.scheduleRetry('lost', null);
        case 'unreachable':
          return this.scheduleRetry('unreachable', null);
        case 'hidden':
          return this.scheduleRetry('blocked', null);
        case 'later':
          return this.scheduleRetry('full', null, refusal.afterMs);
        case 'identity':
        case 'final': {
          const { kind, ...rest } = refusal;
          const reason: ClosedReason = { cause: 'refused', ...rest };
          return kind === 'final' ? this.closeWith(reason) : this.retryWithNewToken('refused', reason);
        }
      }
    });
  }

  /** The open socket was closed. */
  private onClose(code: number): void {
    this.release(null);
    switch (code) {
      case 4401:
        return this.retryWithNewToken('expired', { cause: 'expired', status: null, code: null, detail: '' });
      case 4403:
        return this.retryWithNewToken('ended', { cause: 'ended', status: null, code: null, detail: '' });
      case 1001:
        return this.scheduleRetry('going_away', code);
      case 1013:
        return this.scheduleRetry('full', code);
      case 4408:
        return this.scheduleRetry('too_slow', code);
      default:
        return this.scheduleRetry('lost', code);
    }
  }

  /**
   * Retries with a token other than the rejected one, or closes for the reason `otherwise`. The first new token is tried
   * at once, the next one after a delay.
   */
  private retryWithNewToken(reason: TokenReason, otherwise: ClosedReason): void {
    const rejected = this.credentials.current;
    this.credentials.reject();
    this.fetchToken(reason, (token) => {
      if (token === null || token === rejected) return this.closeWith(otherwise);
      this.nextToken = token;
      if (this.tokenReplaced) return this.scheduleRetry('token_rejected', null);
      this.tokenReplaced = true;
      this.attempt += 1;
      this.connect();
    });
  }

  private scheduleRetry(cause: WaitCause, code: number | null, atLeastMs = 0): void {
    // The jitter comes on top of the server's delay, which other clients got too.
    const delay = atLeastMs + backoffDelay(this.attempt, this.options.tuning.backoff, this.options.environment.random);
    this.attempt += 1;
    this.notBefore = atLeastMs && Date.now() + atLeastMs;
    this.timers.start('retry', delay, () => this.connect());
    this.setState({ name: 'waiting', attempt: this.attempt, retryAt: Date.now() + delay, cause, code });
  }

  private closeWith(reason: ClosedReason): void {
    this.release(null);
    this.setState({ name: 'closed', reason });
  }

  private probe(): Promise<Refusal> {
    const { environment, tuning } = this.options;
    const token = this.credentials.current;
    return probeRefusal(environment, this.address(token), token, tuning.connectDeadlineMs);
  }

  private address(token: string | null): URL {
    const address = new URL(this.options.url);
    if (token === null && this.options.user !== null) address.searchParams.set('user', this.options.user);
    return address;
  }

  /** Closes the current socket, and cancels all work that depends on it. */
  private release(code: number | null, socket: SocketLike | null = this.socket): void {
    this.epoch += 1;
    this.socket = null;
    this.timers.stopAll();
    this.heartbeat?.stop();
    this.questions.stop();
    this.credentials.stop();
    if (socket !== null) {
      socket.onopen = socket.onmessage = socket.onclose = null;
      // No effect on a socket that is already closed.
      if (code === null) socket.close();
      else socket.close(code);
    }
  }

  private setState(state: LinkState): void {
    this.current = state;
    this.handlers.onState(state);
  }
}
