import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { createTimers } from './timers';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

describe('named timers', () => {
  it('run once each, and a new timer replaces the one of its name', () => {
    const ran: string[] = [];
    const timers = createTimers<'a' | 'b'>();
    timers.start('a', 10, () => ran.push('old a'));
    timers.start('a', 20, () => ran.push('new a'));
    timers.start('b', 10, () => ran.push('b'));
    vi.advanceTimersByTime(100);
    expect(ran).toEqual(['b', 'new a']);
  });

  it('can be stopped by name, or all', () => {
    const ran: string[] = [];
    const timers = createTimers<'a' | 'b' | 'c'>();
    for (const name of ['a', 'b', 'c'] as const) timers.start(name, 10, () => ran.push(name));
    timers.stop('a');
    vi.advanceTimersByTime(5);
    expect(vi.getTimerCount()).toBe(2);
    timers.stopAll();
    vi.advanceTimersByTime(100);
    expect(ran).toEqual([]);
  });

  it('can start the same timer again while it runs', () => {
    let runs = 0;
    const timers = createTimers<'a'>();
    const run = (): void => {
      runs += 1;
      if (runs < 3) timers.start('a', 10, run);
    };
    timers.start('a', 10, run);
    vi.advanceTimersByTime(100);
    expect(runs).toBe(3);
  });
});
