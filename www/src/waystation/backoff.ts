export interface Backoff {
  /** The limit of the first delay. */
  readonly baseMs: number;
  /** The limit of every delay. */
  readonly capMs: number;
}

/**
 * A delay with full jitter: from 0 to a limit that doubles with each attempt. A thousand clients that lost the same
 * server reconnect spread over the whole interval.
 *
 * `random`: a function like Math.random.
 */
export function backoffDelay(attempt: number, { baseMs, capMs }: Backoff, random: () => number): number {
  // Without a bound, a tab open for a week would reach Infinity * 0.
  const ceiling = Math.min(capMs, baseMs * 2 ** Math.min(attempt, 30));
  return Math.round(random() * ceiling);
}
