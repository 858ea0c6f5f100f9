import type { ChannelLike, Environment } from './environment';
import { checkOptions, Link, type ClosedReason, type LinkHandlers, type LinkOptions, type LinkState } from './link';
import { parseFrame } from './protocol';

/** What the tabs tell each other. */
type Note =
  /** A tab is new and wants to know how things stand. */
  | { readonly kind: 'hello' }
  | { readonly kind: 'state'; readonly state: LinkState }
  | { readonly kind: 'frame'; readonly source: string }
  | { readonly kind: 'retry' }
  | { readonly kind: 'token'; readonly token: string };

interface Part {
  readonly stopWaiting: AbortController;
  release: (() => void) | null;
}

/**
 * One link for all tabs of a browser. The tab that holds a Web Lock has the
 * socket and passes on what it hears; when that tab goes, the browser gives
 * the lock, and with it the socket, to the next. Between the two nobody is
 * connected for a moment, and the relay says so to whoever sends meanwhile.
 */
export class SharedLink {
  private current: LinkState = { name: 'connecting', attempt: 0 };
  private readonly name: string;
  /** Null once it is disposed of, or where the browser lets nobody share. */
  private channel: ChannelLike | null;
  private readonly stopListening: () => void;
  /** While it takes part: from the first request for the lock to `leave`. */
  private part: Part | null = null;
  private link: Link | null = null;
  private newestToken: string | null = null;
  /** It has offered a token since the link last held. */
  private helped = false;
  private disposed = false;

  static supported(environment: Environment): boolean {
    return environment.locks !== null && environment.BroadcastChannel !== null;
  }

  constructor(
    private readonly options: LinkOptions,
    private readonly handlers: LinkHandlers,
  ) {
    const { locks, BroadcastChannel } = options.environment;
    checkOptions(options);
    if (locks === null || BroadcastChannel === null) throw new TypeError('this browser cannot share a link between tabs');
    this.name = `waystation ${options.dialect} ${options.url.href}`;
    this.channel = new BroadcastChannel(this.name);
    this.channel.onmessage = (event) => this.onNote(event.data as Note);

    const { page } = options.environment;
    const onHide = (): void => this.leave();
    // Only a page that the browser kept comes back; the first showing is no news.
    const onShow = (): void => this.join(locks);
    page?.addEventListener('pagehide', onHide);
    page?.addEventListener('pageshow', onShow);
    this.stopListening = () => {
      page?.removeEventListener('pagehide', onHide);
      page?.removeEventListener('pageshow', onShow);
    };
    this.join(locks);
  }

  get state(): LinkState {
    return this.current;
  }

  /** True in the tab that has the socket. */
  get leading(): boolean {
    return this.link !== null;
  }

  retry(): void {
    if (this.link !== null) this.link.retry();
    else this.tell({ kind: 'retry' });
  }

  setToken(token: string): void {
    this.newestToken = token;
    if (this.link !== null) this.link.setToken(token);
    else this.tell({ kind: 'token', token });
  }

  dispose(): void {
    if (this.disposed) return;
    this.leave();
    this.disposed = true;
    this.stopListening();
    this.stopSharing();
  }

  private stopSharing(): void {
    if (this.channel === null) return;
    this.channel.onmessage = null;
    this.channel.close();
    this.channel = null;
  }

  private join(locks: LockManager): void {
    if (this.part !== null || this.disposed) return;
    const part: Part = { stopWaiting: new AbortController(), release: null };
    this.part = part;
    locks
      .request(this.name, { signal: part.stopWaiting.signal }, () => {
        if (part !== this.part) return;
        this.lead();
        // The lock is held until this promise is settled.
        return new Promise<void>((resolve) => {
          part.release = resolve;
        });
      })
      .catch(() => {
        // Left while it waited: nothing is left to do. Otherwise the browser
        // gives no locks here, where a site may not store anything for example.
        if (part !== this.part) return;
        this.stopSharing();
        this.lead();
      });
    this.tell({ kind: 'hello' });
  }

  private leave(): void {
    const { part, link } = this;
    this.part = null;
    link?.dispose();
    this.link = null;
    part?.release?.();
    part?.stopWaiting.abort();
  }

  private lead(): void {
    const { current } = this;
    // What ended for all tabs does not begin again because one of them goes.
    const closed = current.name === 'closed' && current.reason.cause !== 'left' ? current.reason : null;
    const handlers: LinkHandlers = {
      onState: (state) => {
        this.enter(state);
        this.tell({ kind: 'state', state });
      },
      onFrame: (frame, source) => {
        this.tell({ kind: 'frame', source });
        this.handlers.onFrame(frame, source);
      },
    };
    this.link = new Link(this.options, handlers, closed);
    if (this.newestToken !== null) this.link.setToken(this.newestToken);
  }

  private onNote(note: Note): void {
    const { link } = this;
    if (link !== null) {
      if (note.kind === 'hello') this.tell({ kind: 'state', state: link.state });
      else if (note.kind === 'retry') link.retry();
      else if (note.kind === 'token') link.setToken(note.token);
    } else if (note.kind === 'state') {
      const before = this.current;
      if (before.name === 'open' && Date.now() - before.since >= this.options.tuning.stableMs) this.helped = false;
      this.enter(note.state);
      if (note.state.name === 'closed') void this.helpOut(note.state.reason);
    } else if (note.kind === 'frame') {
      this.handlers.onFrame(parseFrame(note.source), note.source);
    }
  }

  /**
   * The tab that has the socket ran out of tokens: this one may have another.
   * It offers one, and the next only after that one held, so that the tabs do
   * not go on bringing the server what it turns away.
   */
  private async helpOut({ cause, status }: ClosedReason): Promise<void> {
    const source = this.options.token;
    const reason = cause === 'expired' || (cause === 'refused' && (status === 401 || status === 403)) ? cause : null;
    if (reason === null || source === null || this.helped) return;
    this.helped = true;
    try {
      const token = typeof source === 'function' ? await source(reason) : source;
      if (token !== null) this.tell({ kind: 'token', token });
    } catch {
      // Then this tab has none either.
    }
  }

  private enter(state: LinkState): void {
    // A tab that leaves says "left" of itself; for the others the link is
    // about to be taken over.
    const shown: LinkState =
      this.link === null && state.name === 'closed' && state.reason.cause === 'left' ? { name: 'connecting', attempt: 0 } : state;
    this.current = shown;
    this.handlers.onState(shown);
  }

  private tell(note: Note): void {
    this.channel?.postMessage(note);
  }
}
