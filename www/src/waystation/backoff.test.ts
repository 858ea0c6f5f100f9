import { describe, expect, it } from 'vitest';
import { backoffDelay } from './backoff';

const backoff = { baseMs: 500, capMs: 30_000 };

describe('backoffDelay', () => {
  it('doubles its upper end up to the cap', () => {
    expect([0, 1, 2, 5, 6, 7].map((attempt) => backoffDelay(attempt, backoff, () => 1))).toEqual([500, 1000, 2000, 16_000, 30_000, 30_000]);
  });

  it('may be anything below its upper end', () => {
    expect(backoffDelay(3, backoff, () => 0)).toBe(0);
    expect(backoffDelay(3, backoff, () => 0.5)).toBe(2000);
  });

  it('stays a number after a week of attempts', () => {
    expect(backoffDelay(100_000, backoff, () => 0)).toBe(0);
    expect(backoffDelay(100_000, backoff, () => 1)).toBe(30_000);
  });
});
