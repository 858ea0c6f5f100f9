import { backoffDelay } from './backoff';
import type { Environment } from './environment';

/** Limits of the messages that wait in one tab for their receivers. */
const maxHeldMessages = 100;
const maxHeldBytes = 1024 * 1024;

/**
 * The next attempt while the server reports the receiver as reachable. Longer than the server's delay of 2 s before it
 * reports the opposite, so that an attempt is rare that reaches nobody again.
 */
const retryMs = 3_000;
const retryBackoff = { baseMs: 1_000, capMs: 60_000 };

/** Errors of the server that pass: the message is sent again. */
const passingErrors: readonly string[] = ['rate_limited', 'unavailable'];

/** A message of the queue. */
export interface Holdable {
  readonly id: string;
  readonly bytes: number;
  /** False: it waits for those before it, and is sent once. */
  hold: boolean;
}

/** The limits are for a tab, whose page all chats share. */
const usage = new WeakMap<object, { messages: number; bytes: number }>();
/** For environments without a page. */
const noPage = {};

function usageOf({ page }: Environment): { messages: number; bytes: number } {
  const existing = usage.get(page ?? noPage);
  if (existing !== undefined) return existing;
  const created = { messages: 0, bytes: 0 };
  usage.set(page ?? noPage, created);
  return created;
}

export interface HeldHandlers<Item> {
  /** Sends a message. False if the connection is not open. */
  readonly transmit: (item: Item) => boolean;
  /** The ids of the held messages have changed. */
  readonly onChange: (ids: readonly string[]) => void;
}

/**
 * The messages of one chat that wait in this tab until the receiver is reachable. One is unacknowledged at a time, and
 * the others wait, so that their order stays.
 */
export class HeldQueue<Item extends Holdable> {
  private readonly items: Item[] = [];
  /** The first message is sent and not acknowledged. */
  private inFlight = false;
  /** The first message was sent, and waits for its next attempt. */
  private waiting = false;
  private attempt = 0;
  private reachable = false;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private readonly used;
  /** The ids of `onChange`. */
  private current: readonly string[] = [];

  constructor(
    private readonly environment: Environment,
    private readonly handlers: HeldHandlers<Item>,
  ) {
    this.used = usageOf(environment);
  }

  /** The number of messages, with one that is sent and not acknowledged. */
  get size(): number {
    return this.items.length;
  }

  /** The ids of the held messages, in order: all but one that is sent without having waited. */
  get ids(): readonly string[] {
    return this.current;
  }

  has(id: string): boolean {
    return this.items.some((item) => item.id === id);
  }

  /** Sends a message, or holds it. False if the tab is at a limit. */
  add(item: Item): boolean {
    if (this.used.messages >= maxHeldMessages || this.used.bytes + item.bytes > maxHeldBytes) return false;
    this.used.messages += 1;
    this.used.bytes += item.bytes;
    this.items.push(item);
    this.sendNext();
    return true;
  }

  /** The connection has opened. */
  onOpen(): void {
    this.sendNext();
  }

  /** The server has reported whether the receiver is reachable, or the connection was lost: false. */
  onReachable(reachable: boolean): void {
    this.reachable = reachable;
    if (reachable && this.waiting) this.sendAgain();
  }

  /** A message was acknowledged. True if it stays in the queue, since it reached nobody. */
  keepsUndelivered(item: Item): boolean {
    if (item !== this.items[0] || !item.hold) return false;
    this.wait();
    if (this.reachable) this.retryLater(() => this.reachable);
    return true;
  }

  /** The server has rejected a message. True if it stays in the queue, since the error passes. */
  keepsRejected(item: Item, code: string): boolean {
    if (item !== this.items[0] || !item.hold || !passingErrors.includes(code)) return false;
    this.wait();
    this.retryLater(() => true);
    return true;
  }

  /** Removes a message that is settled, and sends the next one. */
  remove(item: Item): void {
    const index = this.items.indexOf(item);
    if (index < 0) return;
    this.items.splice(index, 1);
    this.used.messages -= 1;
    this.used.bytes -= item.bytes;
    if (index > 0) return this.changed();
    this.reset();
    this.sendNext();
  }

  /** Removes a message, unless it is under way: then it is not sent again. Null if it was not removed. */
  cancel(id: string): Item | null {
    const item = this.items.find((one) => one.id === id);
    if (item === undefined) return null;
    if (this.inFlight && item === this.items[0]) {
      item.hold = false;
      return null;
    }
    this.remove(item);
    return item;
  }

  /** Removes all messages. */
  clear(): readonly Item[] {
    this.reset();
    const removed = this.items.splice(0);
    for (const { bytes } of removed) {
      this.used.messages -= 1;
      this.used.bytes -= bytes;
    }
    this.changed();
    return removed;
  }

  private reset(): void {
    clearTimeout(this.timer);
    this.inFlight = this.waiting = false;
    this.attempt = 0;
  }

  private wait(): void {
    this.inFlight = false;
    this.waiting = true;
    this.changed();
  }

  private retryLater(stillWanted: () => boolean): void {
    clearTimeout(this.timer);
    const delay = retryMs + backoffDelay(this.attempt, retryBackoff, this.environment.random);
    this.attempt += 1;
    this.timer = setTimeout(() => {
      if (stillWanted()) this.sendAgain();
    }, delay);
  }

  private sendAgain(): void {
    clearTimeout(this.timer);
    this.waiting = false;
    this.sendNext();
  }

  private sendNext(): void {
    const [first] = this.items;
    if (first !== undefined && !this.inFlight && !this.waiting) this.inFlight = this.handlers.transmit(first);
    this.changed();
  }

  private changed(): void {
    const before = this.current;
    // A held message stays held until it is acknowledged.
    const ids = this.items.filter(({ id }, n) => n > 0 || !this.inFlight || before.includes(id)).map(({ id }) => id);
    if (ids.length === before.length && ids.every((id, n) => id === before[n])) return;
    this.current = ids;
    this.handlers.onChange(ids);
  }
}
