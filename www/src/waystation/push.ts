import { routeAddress } from './address';
import { Emitter, type Listener } from './emitter';
import { browserEnvironment, type Environment } from './environment';
import { Link, type LinkOptions } from './link';
import { defaultTuning, type LinkState, type LinkTuning } from './link_state';
import { isUser, userIdError } from './names';
import { parseFrame, type Frame, type Missed, type MissedQuestion, type Protocol, type ServerError } from './protocol';
import { SendError } from './send_error';
import { SharedLink } from './shared_link';
import type { TokenSource } from './token';

export interface PushEvent {
  readonly message: unknown;
  /** Null, like `from`, for notifications of the host application. */
  readonly group: string | null;
  readonly from: string | null;
  readonly id: string | null;
  readonly at: number;
  /** The frame's text, for numbers that JavaScript cannot hold. */
  readonly source: string;
}

export interface PushEvents {
  state: LinkState;
  event: PushEvent;
  error: ServerError;
}

export interface PushOptions {
  readonly token?: TokenSource | null;
  /** The server's address. Default: the origin of the page. */
  readonly server?: string | URL;
  readonly protocol?: Protocol;
  /**
   * One socket for all tabs of this user in this browser. Needs BroadcastChannel and Web Locks; without them each tab
   * has its own. Default: true.
   */
  readonly shared?: boolean;
  readonly tuning?: Partial<LinkTuning>;
  readonly environment?: Environment;
}

/** What Link and SharedLink have in common. */
interface PushLink {
  readonly state: LinkState;
  start(): void;
  ask(text: string): Promise<string>;
  retry(): void;
  setToken(token: string): void;
  dispose(): void;
}

/** The push socket of a user, from login to logout: messages of conversations that are not open. */
export class Push {
  private readonly link: PushLink;
  private readonly events = new Emitter<PushEvents>();

  constructor(
    readonly user: string,
    options: PushOptions,
  ) {
    if (!isUser(user)) throw userIdError(user);
    const environment = options.environment ?? browserEnvironment();
    const linkOptions: LinkOptions = {
      url: routeAddress(options.server, `push/${user}/`, environment),
      // The path names the user.
      user: null,
      token: options.token ?? null,
      protocol: options.protocol ?? 'v1',
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
    this.link.start();
  }

  get state(): LinkState {
    return this.link.state;
  }

  on<K extends keyof PushEvents>(event: K, listener: Listener<PushEvents[K]>): () => void {
    return this.events.on(event, listener);
  }

  /**
   * Asks who tried to reach this user and found no socket. Rejects with a SendError: with the server's code, such as
   * `audit_off` or `audit_busy`, or with `not_open`, `link_lost` or `no_answer`.
   */
  async missed(question: MissedQuestion): Promise<Missed> {
    const frame = parseFrame(await this.link.ask(JSON.stringify({ missed: question })));
    if (frame.kind === 'missed') return frame.missed;
    const { code, detail } = frame.kind === 'error' ? frame.error : { code: 'unknown', detail: '' };
    throw new SendError(code, 'refused', detail);
  }

  retry(): void {
    this.link.retry();
  }

  setToken(token: string): void {
    this.link.setToken(token);
  }

  /** Closes for good. */
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

/** Connects the push socket of a user. Throws NameError for an invalid user id. */
export function connectPush(user: string, options: PushOptions = {}): Push {
  return new Push(user, options);
}
