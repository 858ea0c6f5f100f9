import type { Health } from './health';

/** The figures of one reading of /healthz. */
export interface Sample {
  /** Milliseconds since 1970. */
  readonly at: number;
  readonly figures: ReadonlyMap<string, number>;
}

/** How long samples are kept: what a chart shows. */
export const chartMs = 10 * 60_000;

export function addSample(samples: readonly Sample[], health: Health, at: number): readonly Sample[] {
  const figures = new Map(health.filter(([, value]) => /^\d+$/.test(value)).map(([name, value]) => [name, Number(value)]));
  return [...samples.filter((one) => at - one.at < chartMs), { at, figures }];
}

/** `sum`: the sum of these members. `rate`: its increase per second between two samples. */
export interface Series {
  readonly name: string;
  readonly members: readonly string[];
  readonly kind: 'sum' | 'rate';
}

export const series: readonly Series[] = [
  { name: 'sockets', members: ['chat_sockets', 'push_sockets'], kind: 'sum' },
  { name: 'delivered', members: ['messages_chat'], kind: 'rate' },
  { name: 'pushed', members: ['messages_pushed'], kind: 'rate' },
  { name: 'lost', members: ['messages_undelivered', 'deliveries_dropped'], kind: 'rate' },
  { name: 'refused', members: ['upgrades_refused'], kind: 'rate' },
  { name: 'queued', members: ['queued_bytes'], kind: 'sum' },
];

/** The values of a series, oldest first. A member that the server does not report counts as 0. */
export function valuesOf({ members, kind }: Series, samples: readonly Sample[]): readonly number[] {
  const sums = samples.map(({ figures }) => members.reduce((sum, member) => sum + (figures.get(member) ?? 0), 0));
  if (kind === 'sum') return sums;
  // A counter decreases when the server restarts.
  return sums.slice(1).map((sum, index) => (Math.max(0, sum - sums[index]!) * 1000) / Math.max(1, samples[index + 1]!.at - samples[index]!.at));
}
