import { describe, expect, it, vi } from 'vitest';
import { shallowRef } from 'vue';
import { healthLabel, stateOf } from './health';

// The preferences need a browser.
vi.mock('../preferences', () => ({ locale: shallowRef('en') }));

describe('stateOf', () => {
  const state = (status: string, engines?: number, ready?: number): string | null =>
    stateOf([
      ['status', status],
      ...(engines === undefined ? [] : ([['cluster_engines', `${engines}`], ['cluster_engines_ready', `${ready}`]] as const)),
    ]);

  it('is the status of the server', () => {
    expect([stateOf([]), state('ok'), state('ok', 0, 0), state('ok', 2, 2), state('draining', 2, 0)]).toEqual([null, 'ok', 'ok', 'ok', 'draining']);
  });

  it('is not that of a server that runs well when other nodes cannot be reached', () => {
    expect([state('ok', 1, 0), state('ok', 2, 1)]).toEqual(['disconnected', 'partly_connected']);
    // Ten are more than nine.
    expect(state('ok', 10, 9)).toBe('partly_connected');
  });
});

describe('healthLabel', () => {
  it('labels the members of /healthz, and unknown ones by their name', () => {
    expect(healthLabel('queued_bytes')).toBe('Queued bytes');
    expect(healthLabel('log_lines_lost')).toBe('Log lines lost');
    expect(healthLabel('some_new_member')).toBe('some new member');
  });
});
