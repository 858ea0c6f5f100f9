import { request } from './api';

export interface Metric {
  /** With its labels. */
  readonly name: string;
  readonly help: string;
  readonly counter: boolean;
  readonly value: number;
}

/** Parses the Prometheus text format. Buckets, sums and counts of histograms are omitted. */
export function parseMetrics(text: string): Metric[] {
  const helps = new Map<string, string>();
  const types = new Map<string, string>();
  const metrics: Metric[] = [];
  for (const line of text.split('\n')) {
    const comment = /^# (HELP|TYPE) (\S+) (.*)$/.exec(line);
    if (comment !== null) {
      const [, what, name = '', rest = ''] = comment;
      (what === 'HELP' ? helps : types).set(name, rest);
      continue;
    }
    const sample = /^([A-Za-z_:][\w:]*)(\{.*\})? (\S+)/.exec(line);
    if (sample === null) continue;
    const [, name = '', labels = '', value = ''] = sample;
    const type = types.get(name);
    // The parts of a histogram or a summary have no type of their own.
    if (type === undefined && types.size > 0) continue;
    const number = Number(value);
    if (!Number.isFinite(number)) continue;
    metrics.push({ name: name + labels, help: helps.get(name) ?? '', counter: type === 'counter', value: number });
  }
  return metrics;
}

export async function readMetrics(token: string): Promise<Metric[]> {
  return parseMetrics(await request('metrics', { token }));
}
