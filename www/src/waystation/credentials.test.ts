import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { createCredentials, type Credentials } from './credentials';
import { fakeToken } from './testing/fake_browser';
import type { TokenReason } from './token';

const dayMs = 86_400_000;
const tokenFor = (ms: number): string => fakeToken({ sub: 'alice', exp: (Date.now() + ms) / 1000 });

let sent: string[];
let asked: TokenReason[];
let next: string | null;
let credentials: Credentials;

beforeEach(() => {
  vi.useFakeTimers({ now: 1_700_000_000_000 });
  sent = [];
  asked = [];
  next = null;
  credentials = createCredentials(
    (reason) => {
      asked.push(reason);
      return next;
    },
    30_000,
    (text) => sent.push(text) > 0,
  );
});

afterEach(() => {
  credentials.stop();
  vi.useRealTimers();
});

const pass = (ms: number): Promise<unknown> => vi.advanceTimersByTimeAsync(ms);

describe('credentials', () => {
  it('return an offered token at once, and the token of the function otherwise', async () => {
    next = 'of.the.function';
    await expect(credentials.fetch('connect')).resolves.toBe('of.the.function');
    credentials.offer('an.offered.one');
    expect(credentials.fetch('connect')).toBe('an.offered.one');
    credentials.use('an.offered.one');
    credentials.reject();
    await expect(credentials.fetch('refused')).resolves.toBe('of.the.function');
    expect(asked).toEqual(['connect', 'refused']);
  });

  it('renew a token 30 s before it expires', async () => {
    credentials.use(tokenFor(3_600_000));
    credentials.scheduleRenewal();
    next = tokenFor(7_200_000);
    await pass(3_569_000);
    expect(sent).toEqual([]);
    await pass(1_000);
    expect(sent).toEqual([JSON.stringify({ token: next })]);
    expect(credentials.current).toBe(next);
  });

  it('renew a token that lives longer than a timer can run', async () => {
    credentials.use(tokenFor(60 * dayMs));
    credentials.scheduleRenewal();
    await pass(59 * dayMs);
    expect(asked).toEqual([]);
    await pass(dayMs);
    expect(asked).toEqual(['expiring']);
  });

  it('restore the token before a rejected refresh', () => {
    credentials.use('first.first.first');
    credentials.refresh('second.second.second');
    credentials.restore();
    expect(credentials.current).toBe('first.first.first');
  });

  it('restore no token of an earlier connection', () => {
    credentials.use('first.first.first');
    credentials.refresh('second.second.second');
    credentials.stop();
    credentials.restore();
    expect(credentials.current).toBe('second.second.second');
  });

  it('send nothing after the connection has ended', async () => {
    credentials.use(tokenFor(3_600_000));
    credentials.scheduleRenewal();
    next = tokenFor(7_200_000);
    credentials.stop();
    await pass(3_600_000);
    expect(sent).toEqual([]);
  });
});
