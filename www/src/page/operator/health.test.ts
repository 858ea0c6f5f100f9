import { describe, expect, it, vi } from 'vitest';
import { shallowRef } from 'vue';
import { healthLabel } from './health';

// The preferences need a browser.
vi.mock('../preferences', () => ({ locale: shallowRef('en') }));

describe('healthLabel', () => {
  it('labels the members of /healthz, and unknown ones by their name', () => {
    expect(healthLabel('queued_bytes')).toBe('Queued bytes');
    expect(healthLabel('log_lines_lost')).toBe('Log lines lost');
    expect(healthLabel('some_new_member')).toBe('some new member');
  });
});
