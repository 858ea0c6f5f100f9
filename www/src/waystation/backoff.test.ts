import { describe, expect, it } from 'vitest';
import { backoffDelay } from './backoff';

const backoff = { baseMs: 500, capMs: 30_000 };

describe('backoffDelay', () => {
  it('doubles its limit up to the cap', () => {
    expect([0, 1, 2, 5, 6, 7].map((attempt) => backoffDelay(attempt, backoff, () => 1))).toEqual([500, 1000, 2000, 16_000, 30_000, 30_000]);
  });

  it('is spread from 0 to its limit', () => {
    expect(backoffDelay(3, backoff, () => 0)).toBe(0);
    expect(backoffDelay(3, backoff, () => 0.5)).toBe(2000);
  });

  it('is a number after any count of attempts', () => {
    expect(backoffDelay(100_000, backoff, () => 0)).toBe(0);
    expect(backoffDelay(100_000, backoff, () => 1)).toBe(30_000);
  });
});
