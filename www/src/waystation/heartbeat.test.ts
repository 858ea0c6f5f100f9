import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { createHeartbeat, type Heartbeat } from './heartbeat';
import { defaultTuning } from './link_state';
import type { Frame } from './protocol';

const { heartbeatMs, heartbeatDeadlineMs } = defaultTuning;
const pong: Frame = { kind: 'pong' };
const rejected: Frame = { kind: 'error', error: { code: 'bad_envelope', detail: '', id: null } };

let sent: string[];
let dead: number;
let resolveProbe: (reachable: boolean) => void;
let heartbeat: Heartbeat;

beforeEach(() => {
  vi.useFakeTimers();
  sent = [];
  dead = 0;
  heartbeat = createHeartbeat(defaultTuning, {
    send: (text) => sent.push(text) > 0,
    isReachable: () => new Promise((resolve) => { resolveProbe = resolve; }),
    onDead: () => { dead += 1; },
  });
  heartbeat.start();
});

afterEach(() => {
  heartbeat.stop();
  vi.useRealTimers();
});

const pass = (ms: number): Promise<unknown> => vi.advanceTimersByTimeAsync(ms);

describe('a heartbeat', () => {
  it('pings after silence, and again after each interval', async () => {
    await pass(heartbeatMs);
    expect(sent).toEqual(['{"ping":1,"id":"ping-1"}']);
    expect(heartbeat.received(pong)).toBe(true);
    await pass(heartbeatMs + 1);
    expect(sent).toHaveLength(2);
  });

  it('has no effect after it stopped', async () => {
    heartbeat.stop();
    await pass(heartbeatMs * 3);
    expect([sent.length, dead]).toEqual([0, 0]);
  });

  it('ignores the probe of an earlier connection', async () => {
    await pass(heartbeatMs + heartbeatDeadlineMs);
    heartbeat.stop();
    resolveProbe(false);
    await pass(0);
    expect(dead).toBe(0);
  });

  it('starts each connection without knowledge of the server', async () => {
    await pass(heartbeatMs);
    heartbeat.received(pong);
    heartbeat.stop();
    heartbeat.start();
    await pass(heartbeatMs + heartbeatDeadlineMs);
    // It probes first, since this connection has not answered a ping.
    expect(dead).toBe(0);
    resolveProbe(false);
    await pass(0);
    expect(dead).toBe(1);
  });

  it('does not take an error of the next connection for an answer to a ping', async () => {
    await pass(heartbeatMs);
    heartbeat.stop();
    heartbeat.start();
    expect(heartbeat.received(rejected)).toBe(false);
    await pass(heartbeatMs);
    expect(heartbeat.received(rejected)).toBe(true);
    expect(heartbeat.received(rejected)).toBe(false);
  });
});
