import { routeAddress } from './address';
import { Emitter, type Listener } from './emitter';
import { browserEnvironment, type Environment } from './environment';
import { defaultTuning, Link, type LinkState, type LinkTuning } from './link';
import { otherUser } from './names';
import { encodeMessage, isMessageId, newMessageId, type Dialect, type Frame, type Route, type ServerError } from './protocol';
import type { TokenSource } from './token';

/** What became of a message that the server took. */
export interface Verdict {
  readonly id: string;
  readonly route: Route;
  /** How many of the receiver's sockets took it. */
  readonly reached: number;
  /** Milliseconds since 1970, by the server's clock. */
  readonly at: number;
}

export type SendErrorCode =
  /** The queue of messages written while offline has no room. */
  | 'queue_full'
  /** The frame would be larger than the server takes. */
  | 'too_large'
  /** It waited in the queue for too long. */
  | 'expired'
  /** The chat was closed before it was sent. */
  | 'closed'
  /** Sent, and no verdict came in time. */
  | 'no_verdict'
  /** Sent, and the link broke before the verdict. */
  | 'link_lost'
  /** The server's own refusal, such as `rate_limited`. */
  | (string & {});

export class SendError extends Error {
  override readonly name = 'SendError';

  constructor(
    readonly code: SendErrorCode,
    /** `unknown`: it may have arrived, and sending it again may deliver it twice. */
    readonly fate: 'not_sent' | 'refused' | 'unknown',
    message: string,
  ) {
    super(message);
  }
}

export interface ChatMessage {
  readonly message: unknown;
  /** Null in the plain dialect, which does not say. */
  readonly from: string | null;
  /** True for what another tab or device of the same user sent. */
  readonly own: boolean;
  readonly id: string | null;
  readonly at: number;
  /** The frame as it came, for values that JavaScript's numbers cannot hold. */
  readonly source: string;
}

export interface ChatEvents {
  state: LinkState;
  message: ChatMessage;
  presence: boolean | null;
  signal: { readonly signal: unknown; readonly from: string };
  queue: { readonly messages: number; readonly bytes: number };
  /** A refusal that belongs to no message of this client. */
  error: ServerError;
}

export interface ChatOptions {
  /** Who is calling: one of the two users of the group. */
  readonly user: string;
  readonly token?: TokenSource | null;
  /** The server's address. Default: where the page came from. */
  readonly server?: string | URL;
  readonly dialect?: Dialect;
  /** How many messages may wait for a connection, and how many bytes of them. */
  readonly queueMessages?: number;
  readonly queueBytes?: number;
  /** How long a message may wait for a connection. */
  readonly queueDeadlineMs?: number;
  /** How long the verdict on a sent message may take. */
  readonly verdictDeadlineMs?: number;
  /** The server's `max_message_bytes`: it closes the socket on a longer frame, so that none is sent. */
  readonly maxMessageBytes?: number;
  readonly tuning?: Partial<LinkTuning>;
  readonly environment?: Environment;
}

interface Outgoing {
  readonly id: string;
  readonly text: string;
  readonly bytes: number;
  readonly resolve: (verdict: Verdict) => void;
  readonly reject: (error: SendError) => void;
  /** First the deadline of the queue, then that of the verdict. */
  timer: ReturnType<typeof setTimeout> | undefined;
}

const closedError = (): SendError => new SendError('closed', 'not_sent', 'the conversation was closed before the message was sent');

/** One conversation, as long as somebody looks at it. */
export class Chat {
  readonly user: string;
  readonly peer: string;
  private readonly link: Link;
  private readonly events = new Emitter<ChatEvents>();
  private readonly dialect: Dialect;
  private readonly limits: { messages: number; bytes: number; queueMs: number; verdictMs: number; frame: number };
  /** Written while there was no connection, in the order written. */
  private readonly waiting: Outgoing[] = [];
  private waitingBytes = 0;
  /** Sent, and without a verdict so far. */
  private readonly unanswered = new Map<string, Outgoing>();
  private peerPresent: boolean | null = null;
  private left = false;

  constructor(
    readonly group: string,
    options: ChatOptions,
  ) {
    this.peer = otherUser(group, options.user);
    this.user = options.user;
    this.dialect = options.dialect ?? 'v1';
    this.limits = {
      messages: options.queueMessages ?? 100,
      bytes: options.queueBytes ?? 256 * 1024,
      queueMs: options.queueDeadlineMs ?? 5 * 60_000,
      verdictMs: options.verdictDeadlineMs ?? 10_000,
      frame: options.maxMessageBytes ?? 65_536,
    };
    const environment = options.environment ?? browserEnvironment();
    this.link = new Link(
      {
        url: routeAddress(options.server, `ws/chat/${group}/`, environment),
        user: options.user,
        token: options.token ?? null,
        dialect: this.dialect,
        tuning: { ...defaultTuning, ...options.tuning },
        environment,
      },
      {
        onState: (state) => this.onState(state),
        onFrame: (frame, source) => this.onFrame(frame, source),
      },
    );
  }

  get state(): LinkState {
    return this.link.state;
  }

  /** Whether the other user is there; null while that is not known. */
  get present(): boolean | null {
    return this.peerPresent;
  }

  /** How many messages wait for a connection. */
  get queued(): number {
    return this.waiting.length;
  }

  on<K extends keyof ChatEvents>(event: K, listener: Listener<ChatEvents[K]>): () => void {
    return this.events.on(event, listener);
  }

  /**
   * Sends a message, at once or when the connection is back. Resolves with the
   * verdict; rejects with a SendError whose `fate` says whether it may have
   * arrived. Throws TypeError for what JSON cannot say, and for an id that is
   * malformed or in use.
   */
  send(message: unknown, id: string = newMessageId()): Promise<Verdict> {
    if (!isMessageId(id)) throw new TypeError(`"${id}" is not a message id: 1 to 64 characters of A-Z a-z 0-9 _ - are`);
    if (this.unanswered.has(id) || this.waiting.some((other) => other.id === id)) {
      throw new TypeError(`the message id "${id}" is in use`);
    }
    const text = encodeMessage(message, this.peer, this.dialect === 'v1' ? id : null);
    const promise = new Promise<Verdict>((resolve, reject) => {
      this.take({ id, text, bytes: new TextEncoder().encode(text).length, resolve, reject, timer: undefined });
    });
    // Whoever does not care about the verdict gets no uncaught rejection.
    promise.catch(() => {});
    return promise;
  }

  /**
   * Tells the other user's sockets something of the moment, such as typing.
   * Never queued, pushed or acknowledged: false means that it was not sent.
   */
  signal(signal: unknown): boolean {
    return this.dialect === 'v1' && this.link.send(JSON.stringify({ signal }));
  }

  retry(): void {
    this.link.retry();
  }

  setToken(token: string): void {
    this.link.setToken(token);
  }

  /** Leaves the conversation, for good. Messages that still wait are rejected, and so is what is sent from now on. */
  close(): void {
    this.left = true;
    this.link.dispose();
    for (const outgoing of [...this.waiting]) {
      this.unqueue(outgoing);
      this.settle(outgoing, closedError());
    }
    this.events.clear();
  }

  private take(outgoing: Outgoing): void {
    const { messages, bytes, frame, queueMs } = this.limits;
    if (this.left) return outgoing.reject(closedError());
    if (outgoing.bytes > frame) {
      return outgoing.reject(
        new SendError('too_large', 'not_sent', `the message takes ${outgoing.bytes} bytes; at most ${frame} are allowed`),
      );
    }
    if (this.waiting.length === 0 && this.transmit(outgoing)) return;
    if (this.waiting.length >= messages || this.waitingBytes + outgoing.bytes > bytes) {
      return outgoing.reject(
        new SendError('queue_full', 'not_sent', `${this.waiting.length} messages wait for the connection already; there is no room for another`),
      );
    }
    outgoing.timer = setTimeout(() => {
      this.unqueue(outgoing);
      outgoing.reject(new SendError('expired', 'not_sent', 'there was no connection for too long'));
    }, queueMs);
    this.waiting.push(outgoing);
    this.waitingBytes += outgoing.bytes;
    this.announceQueue();
  }

  private transmit(outgoing: Outgoing): boolean {
    if (!this.link.send(outgoing.text)) return false;
    clearTimeout(outgoing.timer);
    if (this.dialect === 'plain') {
      outgoing.resolve({ id: outgoing.id, route: 'unconfirmed', reached: 0, at: Date.now() });
      return true;
    }
    this.unanswered.set(outgoing.id, outgoing);
    outgoing.timer = setTimeout(() => {
      this.settle(outgoing, new SendError('no_verdict', 'unknown', 'the server did not say what became of the message'));
      // Either the link is dead or the server is in trouble: find out.
      this.link.check();
    }, this.limits.verdictMs);
    return true;
  }

  private unqueue(outgoing: Outgoing): void {
    const index = this.waiting.indexOf(outgoing);
    if (index < 0) return;
    this.waiting.splice(index, 1);
    this.waitingBytes -= outgoing.bytes;
    this.announceQueue();
  }

  private announceQueue(): void {
    this.events.emit('queue', { messages: this.waiting.length, bytes: this.waitingBytes });
  }

  private settle(outgoing: Outgoing, result: Verdict | SendError): void {
    clearTimeout(outgoing.timer);
    this.unanswered.delete(outgoing.id);
    if (result instanceof SendError) outgoing.reject(result);
    else outgoing.resolve(result);
  }

  private onState(state: LinkState): void {
    if (state.name === 'open') {
      for (let next = this.waiting[0]; next !== undefined && this.transmit(next); next = this.waiting[0]) this.unqueue(next);
    } else {
      if (state.name === 'waiting' && state.code === 1009) this.blameLargest();
      for (const outgoing of [...this.unanswered.values()]) {
        this.settle(outgoing, new SendError('link_lost', 'unknown', 'the connection broke before the server said what became of the message'));
      }
      this.setPresent(null);
    }
    this.events.emit('state', state);
  }

  /** The server takes less than `maxMessageBytes` says, and closed for a frame that was too long for it. */
  private blameLargest(): void {
    const largest = [...this.unanswered.values()].sort((a, b) => b.bytes - a.bytes)[0];
    if (largest === undefined) return;
    this.settle(largest, new SendError('too_large', 'refused', `the server takes no frame of ${largest.bytes} bytes`));
  }

  private setPresent(present: boolean | null): void {
    if (present === this.peerPresent) return;
    this.peerPresent = present;
    this.events.emit('presence', present);
  }

  private onFrame(frame: Frame, source: string): void {
    switch (frame.kind) {
      case 'message':
        return this.events.emit('message', {
          message: frame.message,
          from: frame.from,
          own: frame.from === this.user,
          id: frame.id,
          at: frame.at ?? Date.now(),
          source,
        });
      case 'ack': {
        const outgoing = frame.id === null ? undefined : this.unanswered.get(frame.id);
        if (outgoing === undefined) return;
        return this.settle(outgoing, { id: outgoing.id, route: frame.route, reached: frame.reached, at: frame.at ?? Date.now() });
      }
      case 'error': {
        const { code, detail, id } = frame.error;
        const outgoing = id === null ? undefined : this.unanswered.get(id);
        if (outgoing === undefined) return this.events.emit('error', frame.error);
        return this.settle(outgoing, new SendError(code, 'refused', detail));
      }
      case 'presence':
        if (frame.user === this.peer) this.setPresent(frame.present);
        return;
      case 'signal':
        if (frame.from !== null) this.events.emit('signal', { signal: frame.signal, from: frame.from });
        return;
      case 'event':
      case 'pong':
      case 'unknown':
        return;
    }
  }
}

/** Opens the conversation of a group. Throws NameError if the group, or the user in it, is not right. */
export function openChat(group: string, options: ChatOptions): Chat {
  return new Chat(group, options);
}
