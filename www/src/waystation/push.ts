import { routeAddress } from './address';
import { Emitter, type Listener } from './emitter';
import { browserEnvironment, type Environment } from './environment';
import { defaultTuning, Link, type LinkOptions, type LinkState, type LinkTuning } from './link';
import { isUser, NameError } from './names';
import type { Dialect, Frame, ServerError } from './protocol';
import { SharedLink } from './shared_link';
import type { TokenSource } from './token';

export interface PushEvent {
  readonly message: unknown;
  /** Null, like `from`, for the appliance's own notifications. */
  readonly group: string | null;
  readonly from: string | null;
  readonly id: string | null;
  readonly at: number;
  /** The frame as it came, for values that JavaScript's numbers cannot hold. */
  readonly source: string;
}

export interface PushEvents {
  state: LinkState;
  event: PushEvent;
  error: ServerError;
}

export interface PushOptions {
  readonly token?: TokenSource | null;
  /** The server's address. Default: where the page came from. */
  readonly server?: string | URL;
  readonly dialect?: Dialect;
  /**
   * One socket for all tabs of this user in this browser, where the browser
   * has BroadcastChannel and Web Locks; elsewhere one a tab. Default: true.
   */
  readonly shared?: boolean;
  readonly tuning?: Partial<LinkTuning>;
  readonly environment?: Environment;
}

/** What a link and a shared link have in common. */
export interface PushLink {
  readonly state: LinkState;
  retry(): void;
  setToken(token: string): void;
  dispose(): void;
}

/** What arrives for a user while they do not look at the conversation: from login to logout. */
export class Push {
  private readonly link: PushLink;
  private readonly events = new Emitter<PushEvents>();

  constructor(
    readonly user: string,
    options: PushOptions,
  ) {
    if (!isUser(user)) throw new NameError(`"${user}" is not a user id: 1 to 64 characters of 0-9 and a-z are`);
    const environment = options.environment ?? browserEnvironment();
    const linkOptions: LinkOptions = {
      url: routeAddress(options.server, `push/${user}/`, environment),
      // The path names the caller.
      user: null,
      token: options.token ?? null,
      dialect: options.dialect ?? 'v1',
      tuning: { ...defaultTuning, ...options.tuning },
      environment,
    };
    const handlers = {
      onState: (state: LinkState) => this.events.emit('state', state),
      onFrame: (frame: Frame, source: string) => this.onFrame(frame, source),
    };
    this.link =
      options.shared !== false && SharedLink.supported(environment)
        ? new SharedLink(linkOptions, handlers)
        : new Link(linkOptions, handlers);
  }

  get state(): LinkState {
    return this.link.state;
  }

  on<K extends keyof PushEvents>(event: K, listener: Listener<PushEvents[K]>): () => void {
    return this.events.on(event, listener);
  }

  retry(): void {
    this.link.retry();
  }

  setToken(token: string): void {
    this.link.setToken(token);
  }

  /** Logs out, for good. */
  close(): void {
    this.link.dispose();
    this.events.clear();
  }

  private onFrame(frame: Frame, source: string): void {
    if (frame.kind === 'event') {
      this.events.emit('event', {
        message: frame.message,
        group: frame.group,
        from: frame.from,
        id: frame.id,
        at: frame.at ?? Date.now(),
        source,
      });
    } else if (frame.kind === 'error') {
      this.events.emit('error', frame.error);
    }
  }
}

/** Connects a user's push socket. Throws NameError if the user id is not one. */
export function connectPush(user: string, options: PushOptions = {}): Push {
  return new Push(user, options);
}
