import { routeAddress } from './address';
import { Emitter, type Listener } from './emitter';
import { browserEnvironment, type Environment } from './environment';
import { createHeldQueue, type HeldQueue } from './held';
import { Link } from './link';
import { defaultTuning, type LinkState, type LinkTuning } from './link_state';
import { otherUser } from './names';
import { encodeMessage, isMessageId, newMessageId, type Protocol, type Frame, type Route, type ServerError } from './protocol';
import { SendError } from './send_error';
import type { TokenSource } from './token';

/** The server's acknowledgement of a message. */
export interface Ack {
  readonly id: string;
  readonly route: Route;
  /** The number of the receiver's sockets that took the message. */
  readonly reached: number;
  /** Milliseconds since 1970, server time. */
  readonly at: number;
  /** In a cluster: only sockets of one node could be reached, so the receiver's other sockets may lack the message. */
  readonly partial: boolean;
}

export interface ChatMessage {
  readonly message: unknown;
  /** Null in the plain protocol. */
  readonly from: string | null;
  /** Another tab or device of the same user sent the message. */
  readonly own: boolean;
  readonly id: string | null;
  readonly at: number;
  /** The frame's text, for numbers that JavaScript cannot hold. */
  readonly source: string;
}

export interface ChatEvents {
  state: LinkState;
  message: ChatMessage;
  presence: boolean | null;
  reachable: boolean | undefined;
  signal: { readonly signal: unknown; readonly from: string };
  queue: { readonly messages: number; readonly bytes: number };
  /** The ids of the held messages, in order. */
  held: readonly string[];
  /** An error that belongs to no message of this client. */
  error: ServerError;
}

export interface SendOptions {
  /** 1 to 64 characters of `A-Z a-z 0-9 _ -`. Default: a new id. */
  readonly id?: string;
  /**
   * If the message reaches nobody, this tab holds it, and sends it again with the same id when the receiver is
   * reachable. Later messages of the chat wait behind it. Needs the protocol `v1`. Default: false.
   */
  readonly hold?: boolean;
}

export interface ChatOptions {
  /** The user of this client: one of the two users of the group. */
  readonly user: string;
  readonly token?: TokenSource | null;
  /** The server's address. Default: the origin of the page. */
  readonly server?: string | URL;
  readonly protocol?: Protocol;
  /** Limits of the offline queue. Default: 100 messages, 256 KiB. */
  readonly queueMessages?: number;
  readonly queueBytes?: number;
  /** The longest time of a message in the offline queue, in milliseconds. Default: 5 minutes. */
  readonly queueDeadlineMs?: number;
  /** The longest time until the acknowledgement, in milliseconds. Default: 10 seconds. */
  readonly ackDeadlineMs?: number;
  /** The server's `max_message_bytes`. The client sends no longer frame, since the server would close the socket. Default: 64 KiB. */
  readonly maxMessageBytes?: number;
  readonly tuning?: Partial<LinkTuning>;
  readonly environment?: Environment;
}

interface Outgoing {
  readonly id: string;
  readonly text: string;
  readonly bytes: number;
  hold: boolean;
  readonly resolve: (ack: Ack) => void;
  readonly reject: (error: SendError) => void;
  /** The deadline of the queue, then of the acknowledgement. */
  timer: ReturnType<typeof setTimeout> | undefined;
}

/**
 * After a lost connection, how long the waiting messages wait until the receiver is reachable. A restart of the server
 * disconnects both users, and one of them returns first.
 */
const returnMs = 3_000;

const closedError = (): SendError => new SendError('closed', 'not_sent', 'message: not sent; the chat is closed');

/** The chat socket of one conversation, open while the user looks at it. */
export class Chat {
  readonly user: string;
  readonly peer: string;
  private readonly link: Link;
  private readonly events = new Emitter<ChatEvents>();
  private readonly protocol: Protocol;
  private readonly limits: { messages: number; bytes: number; queueMs: number; ackMs: number; frame: number };
  /** Messages without a connection, in order. */
  private readonly queue: Outgoing[] = [];
  private waitingBytes = 0;
  /** Messages that are sent and not acknowledged, by id. */
  private readonly unacknowledged = new Map<string, Outgoing>();
  /** Messages with `hold`, and those behind them. */
  private readonly heldQueue: HeldQueue<Outgoing>;
  private peerPresent: boolean | null = null;
  private peerReachable: boolean | undefined;
  private wasOpen = false;
  /** Waiting messages are not sent while it is set. */
  private returnTimer: ReturnType<typeof setTimeout> | undefined;
  private closed = false;

  constructor(
    readonly group: string,
    options: ChatOptions,
  ) {
    this.peer = otherUser(group, options.user);
    this.user = options.user;
    this.protocol = options.protocol ?? 'v1';
    this.limits = {
      messages: options.queueMessages ?? 100,
      bytes: options.queueBytes ?? 256 * 1024,
      queueMs: options.queueDeadlineMs ?? 5 * 60_000,
      ackMs: options.ackDeadlineMs ?? 10_000,
      frame: options.maxMessageBytes ?? 65_536,
    };
    const environment = options.environment ?? browserEnvironment();
    this.heldQueue = createHeldQueue(
      environment,
      // Messages in the offline queue are older.
      (outgoing) => this.returnTimer === undefined && this.queue.length === 0 && this.transmit(outgoing),
      (ids) => this.events.emit('held', ids),
    );
    this.link = new Link(
      {
        url: routeAddress(options.server, `ws/chat/${group}/`, environment),
        user: options.user,
        token: options.token ?? null,
        protocol: this.protocol,
        tuning: { ...defaultTuning, ...options.tuning },
        environment,
      },
      {
        onState: (state) => this.onState(state),
        onFrame: (frame, source) => this.onFrame(frame, source),
      },
    );
    this.link.start();
  }

  get state(): LinkState {
    return this.link.state;
  }

  /** Whether the other user is present; null if unknown. */
  get present(): boolean | null {
    return this.peerPresent;
  }

  /** Whether the other user is present, or has a push socket. Undefined if unknown, or if the server does not say it. */
  get reachable(): boolean | undefined {
    return this.peerReachable;
  }

  /** The ids of the held messages, in order. */
  get held(): readonly string[] {
    return this.heldQueue.ids();
  }

  /** The number of messages in the offline queue. */
  get queued(): number {
    return this.queue.length;
  }

  on<K extends keyof ChatEvents>(event: K, listener: Listener<ChatEvents[K]>): () => void {
    return this.events.on(event, listener);
  }

  /**
   * Sends a message now, or when the connection is back. Resolves with the acknowledgement. Rejects with a SendError,
   * whose `outcome` tells whether the message may have arrived. Throws TypeError for a value that JSON cannot express,
   * for an id that is invalid or in use, and for `hold` in the plain protocol.
   *
   * `options`: a string is the id.
   */
  send(message: unknown, options: SendOptions | string = {}): Promise<Ack> {
    const { id = newMessageId(), hold = false } = typeof options === 'string' ? { id: options } : options;
    if (!isMessageId(id)) throw new TypeError(`message id "${id}": not a message id; use 1 to 64 characters of A-Z a-z 0-9 _ -`);
    if (this.unacknowledged.has(id) || this.heldQueue.has(id) || this.isQueued(id)) {
      throw new TypeError(`message id "${id}": in use; use another`);
    }
    if (hold && this.protocol === 'plain') throw new TypeError('hold: the plain protocol has no acknowledgements; use protocol "v1"');
    const text = encodeMessage(message, this.peer, this.protocol === 'v1' ? id : null);
    const promise = new Promise<Ack>((resolve, reject) => {
      this.enqueue({ id, text, bytes: new TextEncoder().encode(text).length, hold, resolve, reject, timer: undefined });
    });
    // No uncaught rejection for callers that ignore the result.
    promise.catch(() => {});
    return promise;
  }

  /** Whether the message waits in the offline queue. */
  isQueued(id: string): boolean {
    return this.queue.some((other) => other.id === id);
  }

  /**
   * Removes a message that waits, held or in the offline queue: `send` rejects with the code `canceled`. False if it does
   * not wait. A message that is under way is not sent again.
   */
  cancel(id: string): boolean {
    const outgoing = this.heldQueue.cancel(id) ?? this.queue.find((other) => other.id === id);
    if (outgoing === undefined) return false;
    this.dequeue(outgoing);
    clearTimeout(outgoing.timer);
    outgoing.reject(new SendError('canceled', 'not_sent', 'message: not sent; it was canceled'));
    return true;
  }

  /**
   * Sends a signal, such as typing, to all other chat sockets of the group. Signals are never queued, pushed or acknowledged.
   * False if it was not sent.
   */
  signal(signal: unknown): boolean {
    return this.protocol === 'v1' && this.link.send(JSON.stringify({ signal }));
  }

  retry(): void {
    this.link.retry();
  }

  setToken(token: string): void {
    this.link.setToken(token);
  }

  /** Closes for good. Waiting messages are rejected, and so are later calls of `send`. */
  close(): void {
    this.closed = true;
    this.link.dispose();
    for (const outgoing of [...this.queue]) {
      this.dequeue(outgoing);
      this.complete(outgoing, closedError());
    }
    for (const outgoing of this.heldQueue.clear()) outgoing.reject(closedError());
    this.events.clear();
  }

  private enqueue(outgoing: Outgoing): void {
    const { messages, bytes, frame, queueMs } = this.limits;
    if (this.closed) return outgoing.reject(closedError());
    if (outgoing.bytes > frame) {
      return outgoing.reject(
        new SendError('too_large', 'not_sent', `message: ${outgoing.bytes} bytes; at most ${frame} are allowed`),
      );
    }
    if (outgoing.hold || this.heldQueue.size() > 0) {
      if (this.heldQueue.add(outgoing)) return;
      return outgoing.reject(new SendError('hold_full', 'not_sent', 'message: not sent; this tab holds at most 100 messages or 1 MiB'));
    }
    const isFull = (): boolean => this.queue.length >= messages || this.waitingBytes + outgoing.bytes > bytes;
    // A full queue does not wait for the receiver.
    if (isFull()) this.sendQueue();
    if (this.queue.length === 0 && this.transmit(outgoing)) return;
    if (isFull()) {
      return outgoing.reject(
        new SendError('queue_full', 'not_sent', `message: not sent; the offline queue is full with ${this.queue.length} messages`),
      );
    }
    outgoing.timer = setTimeout(() => {
      // Nor does a message at its deadline.
      this.sendQueue();
      if (!this.queue.includes(outgoing)) return;
      this.dequeue(outgoing);
      outgoing.reject(new SendError('expired', 'not_sent', 'message: not sent; there was no connection before the deadline'));
    }, queueMs);
    this.queue.push(outgoing);
    this.waitingBytes += outgoing.bytes;
    this.emitQueue();
  }

  private transmit(outgoing: Outgoing): boolean {
    if (!this.link.send(outgoing.text)) return false;
    clearTimeout(outgoing.timer);
    if (this.protocol === 'plain') {
      outgoing.resolve({ id: outgoing.id, route: 'unconfirmed', reached: 0, at: Date.now(), partial: false });
      return true;
    }
    this.unacknowledged.set(outgoing.id, outgoing);
    outgoing.timer = setTimeout(() => {
      this.complete(outgoing, new SendError('no_ack', 'unknown', 'message: no acknowledgement before the deadline'));
      // The connection may be dead.
      this.link.check();
    }, this.limits.ackMs);
    return true;
  }

  private dequeue(outgoing: Outgoing): void {
    const index = this.queue.indexOf(outgoing);
    if (index < 0) return;
    this.queue.splice(index, 1);
    this.waitingBytes -= outgoing.bytes;
    this.emitQueue();
  }

  private emitQueue(): void {
    this.events.emit('queue', { messages: this.queue.length, bytes: this.waitingBytes });
  }

  private complete(outgoing: Outgoing, result: Ack | SendError): void {
    clearTimeout(outgoing.timer);
    this.unacknowledged.delete(outgoing.id);
    const failed = result instanceof SendError;
    if (failed ? this.heldQueue.keepsRejected(outgoing, result.code) : result.route === 'none' && this.heldQueue.keepsUndelivered(outgoing)) return;
    if (failed) outgoing.reject(result);
    else outgoing.resolve(result);
    this.heldQueue.remove(outgoing);
  }

  private onState(state: LinkState): void {
    clearTimeout(this.returnTimer);
    if (state.name === 'open') {
      if (this.wasOpen && this.protocol === 'v1' && this.queue.length + this.heldQueue.size() > 0) this.returnTimer = setTimeout(() => this.sendQueue(), returnMs);
      else this.sendQueue();
      this.wasOpen = true;
    } else {
      if (state.name === 'waiting' && state.code === 1009) this.rejectLargest();
      for (const outgoing of [...this.unacknowledged.values()]) {
        this.complete(outgoing, new SendError('link_lost', 'unknown', 'message: the connection was lost before the acknowledgement'));
      }
      this.setPresence(null, undefined);
    }
    this.events.emit('state', state);
  }

  private sendQueue(): void {
    clearTimeout(this.returnTimer);
    this.returnTimer = undefined;
    for (let next = this.queue[0]; next !== undefined && this.transmit(next); next = this.queue[0]) this.dequeue(next);
    this.heldQueue.onOpen();
  }

  /** The server's limit is below `maxMessageBytes`, and it closed the socket because of a longer frame. */
  private rejectLargest(): void {
    const largest = [...this.unacknowledged.values()].sort((a, b) => b.bytes - a.bytes)[0];
    if (largest === undefined) return;
    this.complete(largest, new SendError('too_large', 'refused', `message: ${largest.bytes} bytes; the server's limit is lower`));
  }

  private setPresence(present: boolean | null, reachable: boolean | undefined): void {
    const before = [this.peerPresent, this.peerReachable];
    this.peerPresent = present;
    this.peerReachable = reachable;
    if (present !== before[0]) this.events.emit('presence', present);
    if (reachable !== before[1]) this.events.emit('reachable', reachable);
    const canReceive = reachable ?? present === true;
    if (canReceive) this.sendQueue();
    this.heldQueue.onReachable(canReceive);
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
        const outgoing = frame.id === null ? undefined : this.unacknowledged.get(frame.id);
        if (outgoing === undefined) return;
        return this.complete(outgoing, { id: outgoing.id, route: frame.route, reached: frame.reached, at: frame.at ?? Date.now(), partial: frame.partial });
      }
      case 'error': {
        const { code, detail, id } = frame.error;
        const outgoing = id === null ? undefined : this.unacknowledged.get(id);
        if (outgoing === undefined) return this.events.emit('error', frame.error);
        // `undecided`: the server lost its connection to the other servers on the message's way.
        return this.complete(outgoing, new SendError(code, code === 'undecided' ? 'unknown' : 'refused', detail));
      }
      case 'presence':
        if (frame.user === this.peer) this.setPresence(frame.present, frame.reachable);
        return;
      case 'signal':
        if (frame.from !== null) this.events.emit('signal', { signal: frame.signal, from: frame.from });
        return;
      case 'event':
      case 'missed':
      case 'pong':
      case 'unknown':
        return;
    }
  }
}

/** Opens the chat socket of a group. Throws NameError for an invalid group, or a user who is not in it. */
export function openChat(group: string, options: ChatOptions): Chat {
  return new Chat(group, options);
}
