import type { Backoff } from './backoff';

/** Why a link is waiting for its next attempt. */
export type WaitCause =
  /** The connection failed, and the server did not answer a plain request either. */
  | 'unreachable'
  /**
   * The server answers, and the browser hides the answer from a page of this origin. The server's `allowed_origins` does
   * not list it, or a proxy answers in the server's place.
   */
  | 'blocked'
  /** The server is at a limit, or a proxy has no server: 429, every status of 5xx but 501, or close code 1013. */
  | 'full'
  /** The server is shutting down: close code 1001. */
  | 'going_away'
  /** This client read too slowly: close code 4408. */
  | 'too_slow'
  /** A heartbeat on the open connection got no answer. */
  | 'silent'
  /** The application's token function failed, or exceeded the connect deadline. */
  | 'token_failed'
  /** The server rejected one new token after another. */
  | 'token_rejected'
  /** Any other failure; `code` is the close code. */
  | 'lost';

/** Why a link is closed. Only `retry` or a new token opens it again. */
export interface ClosedReason {
  readonly cause:
    /** `close` was called, or the user left the page. */
    | 'left'
    /** The token expired (close code 4401), and there is no new one. */
    | 'expired'
    /** An administrator ended the session (close code 4403). */
    | 'ended'
    /** The server refused the request for a reason that does not pass. */
    | 'refused'
    /** The browser cannot open this connection, for example because of a malformed token. */
    | 'unusable';
  /** The HTTP status of a refusal. */
  readonly status: number | null;
  /** The server's refusal code, such as `not_a_member`. */
  readonly code: string | null;
  readonly detail: string;
}

export type LinkState =
  | { readonly name: 'connecting'; readonly attempt: number }
  | { readonly name: 'open'; readonly since: number }
  | { readonly name: 'waiting'; readonly attempt: number; readonly retryAt: number; readonly cause: WaitCause; readonly code: number | null }
  | { readonly name: 'closed'; readonly reason: ClosedReason };

/** The delays of a link, in milliseconds. */
export interface LinkTuning {
  /** Delays between attempts. Default: 500 up to 30,000. */
  readonly backoff: Backoff;
  /** An upgrade, a call of the token function, or a question fails after this time. Default: 10,000. */
  readonly connectDeadlineMs: number;
  /** A ping is sent after this time without a frame. 0: never. Default: 20,000. */
  readonly heartbeatMs: number;
  /** The connection is dead if a ping gets no answer in this time. Default: 8,000. */
  readonly heartbeatDeadlineMs: number;
  /** A connection open for this time resets the backoff. Default: 5,000. */
  readonly stableMs: number;
  /** A token is renewed this long before it expires, at the earliest. Default: 30,000. */
  readonly renewMs: number;
}

export const defaultTuning: LinkTuning = {
  backoff: { baseMs: 500, capMs: 30_000 },
  connectDeadlineMs: 10_000,
  heartbeatMs: 20_000,
  heartbeatDeadlineMs: 8_000,
  stableMs: 5_000,
  renewMs: 30_000,
};
