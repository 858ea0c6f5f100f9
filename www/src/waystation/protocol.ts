/** Frames of both protocols: from text to typed frames, and back. */

export const subprotocol = 'waystation.v1';

/** `v1`: the subprotocol `waystation.v1`, with sender, time and acknowledgement. `plain`: the original protocol, with the message only. */
export type Protocol = 'v1' | 'plain';

/** The route of a message. `unconfirmed`: the plain protocol has no acknowledgement. */
export type Route = 'chat' | 'push' | 'none' | 'unconfirmed';

export interface ServerError {
  readonly code: string;
  readonly detail: string;
  readonly id: string | null;
}

/** One user who tried to reach this user. */
export interface MissedFrom {
  readonly user: string;
  /** The number of messages that reached no socket. The user may have delivered one of them later. */
  readonly count: number;
  /** Times of the first and the last one, in milliseconds since 1970, server time. */
  readonly first: number;
  readonly last: number;
}

/** Who tried to reach a user. The messages themselves are kept nowhere. */
export interface Missed {
  readonly from: readonly MissedFrom[];
  /** The number of notifications of the host application. */
  readonly notifications: number;
  /** False: there may have been more. */
  readonly complete: boolean;
  /** The cursor for the next question. Null if the server gave none. */
  readonly next: string | null;
}

/** From a time of the server on, in milliseconds since 1970, for the first question; then after the last answer. */
export type MissedQuestion = { readonly since: number } | { readonly after: string };

export type Frame =
  | { readonly kind: 'message'; readonly message: unknown; readonly from: string | null; readonly id: string | null; readonly at: number | null }
  | { readonly kind: 'ack'; readonly id: string | null; readonly route: Route; readonly reached: number; readonly at: number | null; readonly partial: boolean }
  /** `reachable`: undefined if the server does not say it. */
  | { readonly kind: 'presence'; readonly user: string; readonly present: boolean; readonly reachable: boolean | undefined }
  | { readonly kind: 'signal'; readonly signal: unknown; readonly from: string | null }
  | { readonly kind: 'event'; readonly message: unknown; readonly group: string | null; readonly from: string | null; readonly id: string | null; readonly at: number | null }
  | { readonly kind: 'missed'; readonly missed: Missed }
  | { readonly kind: 'pong' }
  | { readonly kind: 'error'; readonly error: ServerError }
  /** A frame of a newer server. Not an error: it is ignored. */
  | { readonly kind: 'unknown' };

const messageIdPattern = /^[A-Za-z0-9_-]{1,64}$/;

export function isMessageId(text: string): boolean {
  return messageIdPattern.test(text);
}

/** A new message id. `crypto.randomUUID` does not exist on pages from plain HTTP. */
export function newMessageId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(12));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

type JsonObject = { readonly [key: string]: unknown };

function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

const text = (value: unknown): string | null => (typeof value === 'string' ? value : null);
const number = (value: unknown): number | null => (typeof value === 'number' ? value : null);

function isMissedFrom(value: unknown): value is MissedFrom {
  return isObject(value) && typeof value.user === 'string' && [value.count, value.first, value.last].every((one) => typeof one === 'number');
}

function route(value: unknown): Route {
  return value === 'chat' || value === 'push' || value === 'none' ? value : 'unconfirmed';
}

export function parseFrame(source: unknown): Frame {
  if (typeof source !== 'string') return { kind: 'unknown' };
  let frame: unknown;
  try {
    frame = JSON.parse(source);
  } catch {
    return { kind: 'unknown' };
  }
  if (!isObject(frame)) return { kind: 'unknown' };

  const { error, ack, presence, event, missed } = frame;
  if (isObject(error)) {
    return {
      kind: 'error',
      error: { code: text(error.code) ?? 'unknown', detail: text(error.detail) ?? '', id: text(error.id) },
    };
  }
  if (isObject(ack)) {
    return { kind: 'ack', id: text(ack.id), route: route(ack.route), reached: number(ack.reached) ?? 0, at: number(ack.at), partial: ack.partial === true };
  }
  if (isObject(presence) && typeof presence.user === 'string') {
    const { user, present, reachable } = presence;
    return { kind: 'presence', user, present: present === true, reachable: typeof reachable === 'boolean' ? reachable : undefined };
  }
  if (isObject(event) && 'message' in event) {
    return {
      kind: 'event',
      message: event.message,
      group: text(event.group),
      from: text(event.from),
      id: text(event.id),
      at: number(event.at),
    };
  }
  if (isObject(missed) && Array.isArray(missed.from)) {
    const { from, notifications, complete, next } = missed;
    return { kind: 'missed', missed: { from: from.filter(isMissedFrom), notifications: number(notifications) ?? 0, complete: complete === true, next: text(next) } };
  }
  if ('pong' in frame) return { kind: 'pong' };
  if ('signal' in frame) return { kind: 'signal', signal: frame.signal, from: text(frame.from) };
  if ('message' in frame) {
    return { kind: 'message', message: frame.message, from: text(frame.from), id: text(frame.id), at: number(frame.at) };
  }
  return { kind: 'unknown' };
}

/** Throws TypeError for values that JSON cannot express: undefined, functions, symbols, BigInt, cycles. */
export function encodeMessage(message: unknown, to: string, id: string | null): string {
  if (JSON.stringify(message) === undefined) {
    throw new TypeError('message: not a JSON value; undefined, functions and symbols are not allowed');
  }
  return JSON.stringify(id === null ? { message, to_user: to } : { message, to_user: to, id });
}
