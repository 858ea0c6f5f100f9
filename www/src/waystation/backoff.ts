export interface Backoff {
  /** The upper end of the first delay. */
  readonly baseMs: number;
  /** The upper end of any delay. */
  readonly capMs: number;
}

/**
 * Full jitter: anything from nothing to an upper end that doubles with each
 * attempt. A thousand clients that lost the same server come back spread over
 * the whole interval, not in waves.
 */
export function backoffDelay(attempt: number, { baseMs, capMs }: Backoff, random: () => number): number {
  // The exponent is bounded so that a tab left open for a week cannot reach Infinity * 0.
  const ceiling = Math.min(capMs, baseMs * 2 ** Math.min(attempt, 30));
  return Math.round(random() * ceiling);
}
