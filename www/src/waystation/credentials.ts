import { createTimers } from './timers';
import { readToken, type TokenReason, type TokenSource } from './token';

/** The longest delay of setTimeout; a longer one would fire at once. */
const maxTimerMs = 2 ** 31 - 1;

/** The shortest time between renewals, for tokens that live seconds and clocks that run ahead. */
const minRenewalMs = 5_000;

/** The token of a link: where it comes from, and its renewal on the open connection. */
export interface Credentials {
  /** The token of the current connection or attempt. */
  readonly current: string | null;
  /** Starts an attempt with this token. */
  use(token: string | null): void;
  /** The connection is gone. */
  stop(): void;
  /** A token that the application received by itself. It takes precedence over the source. */
  offer(token: string): void;
  /** The server rejected the current token. */
  reject(): void;
  /** The newest token, at once or as a promise of the application's function. */
  fetch(reason: TokenReason): string | null | Promise<string | null>;
  /** Sends a new token on the open connection. */
  refresh(token: string): void;
  /** The server rejected the token of the last refresh. The connection lives as long as the one before. */
  restore(): void;
  scheduleRenewal(): void;
}

/** `renewMs`: as in LinkTuning. `send`: sends on the open connection; false if it is not open. */
export function createCredentials(source: TokenSource | null, renewMs: number, send: (text: string) => boolean): Credentials {
  const timers = createTimers<'renew'>();
  /** Changes with each connection, so that a late token has no effect on the next. */
  let connection = 0;
  let current: string | null = null;
  /** What `current` was before the refresh. */
  let previous: string | null = null;
  let offered: string | null = null;

  /** A function that throws and one that rejects have the same effect. */
  const call = async (get: Exclude<TokenSource, string>, reason: TokenReason): Promise<string | null> => get(reason);

  function reject(): void {
    if (offered === current) offered = null;
  }

  function refresh(token: string): void {
    if (!send(JSON.stringify({ token }))) return;
    previous = current;
    current = token;
    scheduleRenewal();
  }

  function scheduleRenewal(): void {
    const expiresAt = current === null ? null : (readToken(current)?.expiresAt ?? null);
    if (expiresAt === null || typeof source !== 'function') return;
    const left = expiresAt - Date.now();
    // Too late: the server closes with 4401, and the link fetches a token then.
    if (left <= 0) return;
    const due = Math.max(minRenewalMs, left - Math.min(renewMs, left / 2));
    timers.start('renew', Math.min(maxTimerMs, due), () => {
      if (due > maxTimerMs) return scheduleRenewal();
      const before = connection;
      call(source, 'expiring').then(
        (token) => {
          if (connection === before && token !== null && token !== current) refresh(token);
        },
        () => {
          // The current token is still valid. When it expires, the link fetches another.
        },
      );
    });
  }

  return {
    get current() {
      return current;
    },
    use(token) {
      current = token;
    },
    stop() {
      connection += 1;
      previous = null;
      timers.stopAll();
    },
    offer(token) {
      offered = token;
    },
    reject,
    fetch: (reason) => (offered !== null || typeof source !== 'function' ? (offered ?? (source as string | null)) : call(source, reason)),
    refresh,
    restore() {
      if (previous === null) return;
      reject();
      current = previous;
      previous = null;
      scheduleRenewal();
    },
    scheduleRenewal,
  };
}
