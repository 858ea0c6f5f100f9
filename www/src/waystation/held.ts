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

/**
 * The messages of one chat that wait in this tab until the receiver is reachable. Each one waits for the acknowledgement
 * of the one before, so that their order stays.
 */
export interface HeldQueue<Item extends Holdable> {
  /** The number of messages, with one that is sent and not acknowledged. */
  size(): number;
  /** The ids of the held messages, in order: all but one that is sent without having waited. */
  ids(): readonly string[];
  has(id: string): boolean;
  /** Sends a message, or holds it. False if the tab is at a limit. */
  add(item: Item): boolean;
  /** The connection has opened. */
  onOpen(): void;
  /** The server has reported whether the receiver is reachable, or the connection was lost: false. */
  onReachable(reachable: boolean): void;
  /** A message was acknowledged, and reached nobody. True if it stays in the queue. */
  keepsUndelivered(item: Item): boolean;
  /** The server has rejected a message. True if it stays in the queue, since the error passes. */
  keepsRejected(item: Item, code: string): boolean;
  /** Removes a message that is settled, and sends the next one. */
  remove(item: Item): void;
  /** Removes a message, unless it is under way: then it is not sent again. Undefined if it was not removed. */
  cancel(id: string): Item | undefined;
  /** Removes all messages. */
  clear(): readonly Item[];
}

/** The limits are for a tab, whose page all chats share. */
const usage = new WeakMap<object, { messages: number; bytes: number }>();
/** For environments without a page. */
const noPage = {};

/**
 * `transmit`: sends a message; false if the connection is not open. `onChange`: the ids of the held messages have
 * changed.
 */
export function createHeldQueue<Item extends Holdable>(
  { page, random }: Environment,
  transmit: (item: Item) => boolean,
  onChange: (ids: readonly string[]) => void,
): HeldQueue<Item> {
  const used = usage.get(page ?? noPage) ?? { messages: 0, bytes: 0 };
  usage.set(page ?? noPage, used);
  const items: Item[] = [];
  let held: readonly string[] = [];
  /** The first message is sent and not acknowledged. */
  let inFlight = false;
  /** The first message was sent, and waits for its next attempt. */
  let waiting = false;
  let attempt = 0;
  let receiverReachable = false;
  let timer: ReturnType<typeof setTimeout> | undefined;

  function changed(): void {
    // A held message stays held until it is acknowledged.
    const now = items.filter(({ id }, n) => n > 0 || !inFlight || held.includes(id)).map(({ id }) => id);
    if (now.join() === held.join()) return;
    held = now;
    onChange(now);
  }

  function sendNext(): void {
    const [first] = items;
    if (first !== undefined && !inFlight && !waiting) inFlight = transmit(first);
    changed();
  }

  function sendAgain(): void {
    clearTimeout(timer);
    waiting = false;
    sendNext();
  }

  /** `despiteAbsence`: the next attempt does not depend on the receiver. */
  function wait(item: Item, despiteAbsence: boolean): boolean {
    if (item !== items[0] || !item.hold) return false;
    inFlight = false;
    waiting = true;
    changed();
    clearTimeout(timer);
    if (despiteAbsence || receiverReachable) {
      timer = setTimeout(() => {
        if (despiteAbsence || receiverReachable) sendAgain();
      }, retryMs + backoffDelay(attempt, retryBackoff, random));
      attempt += 1;
    }
    return true;
  }

  function reset(): void {
    clearTimeout(timer);
    inFlight = waiting = false;
    attempt = 0;
  }

  function release({ bytes }: Item): void {
    used.messages -= 1;
    used.bytes -= bytes;
  }

  function remove(item: Item): void {
    const index = items.indexOf(item);
    if (index < 0) return;
    items.splice(index, 1);
    release(item);
    if (index > 0) return changed();
    reset();
    sendNext();
  }

  return {
    size: () => items.length,
    ids: () => held,
    has: (id) => items.some((item) => item.id === id),
    add(item) {
      if (used.messages >= maxHeldMessages || used.bytes + item.bytes > maxHeldBytes) return false;
      used.messages += 1;
      used.bytes += item.bytes;
      items.push(item);
      sendNext();
      return true;
    },
    onOpen: sendNext,
    onReachable(reachable) {
      receiverReachable = reachable;
      if (reachable && waiting) sendAgain();
    },
    keepsUndelivered: (item) => wait(item, false),
    keepsRejected: (item, code) => passingErrors.includes(code) && wait(item, true),
    remove,
    cancel(id) {
      const item = items.find((one) => one.id === id);
      if (item === undefined) return undefined;
      if (inFlight && item === items[0]) {
        item.hold = false;
        return undefined;
      }
      remove(item);
      return item;
    },
    clear() {
      reset();
      const removed = items.splice(0);
      removed.forEach(release);
      changed();
      return removed;
    },
  };
}
