import { describe, expect, it } from 'vitest';
import { addSample, chartMs, valuesOf, type Sample } from './samples';

describe('samples', () => {
  const read = (samples: readonly Sample[], at: number, chat: number, sent: number): readonly Sample[] =>
    addSample(samples, [['status', 'ok'], ['chat_sockets', String(chat)], ['push_sockets', '1'], ['messages_chat', String(sent)]], at);

  it('are kept for the time of a chart', () => {
    let samples: readonly Sample[] = [];
    for (let at = 0; at <= chartMs + 4_000; at += 2_000) samples = read(samples, at, 0, 0);
    expect(samples[0]?.at).toBe(6_000);
    expect(samples.length).toBe(chartMs / 2_000);
  });

  it('are sums, or rates of counters', () => {
    let samples: readonly Sample[] = [];
    for (const [at, chat, sent] of [[0, 2, 10], [2_000, 3, 14], [3_000, 3, 14], [5_000, 0, 1]] as const) samples = read(samples, at, chat, sent);
    expect(valuesOf({ name: 'sockets', members: ['chat_sockets', 'push_sockets'], kind: 'sum' }, samples)).toEqual([3, 4, 4, 1]);
    expect(valuesOf({ name: 'delivered', members: ['messages_chat', 'no_such_member'], kind: 'rate' }, samples)).toEqual([2, 0, 0]);
    expect(valuesOf({ name: 'delivered', members: ['messages_chat'], kind: 'rate' }, [])).toEqual([]);
  });
});
