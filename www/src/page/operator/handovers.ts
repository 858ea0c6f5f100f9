import type { Metric } from './metrics';

/** How connections ended that another web server handed over, in the order in which they are shown. */
export const handoverResults = ['handed', 'pumped', 'refused', 'unavailable'] as const;
export type HandoverResult = (typeof handoverResults)[number];

/** The counters of /metrics by result; null if no connection was handed over. */
export function handoversOf(metrics: readonly Metric[]): ReadonlyMap<HandoverResult, number> | null {
  const found = new Map<HandoverResult, number>();
  for (const result of handoverResults) {
    const metric = metrics.find(({ name }) => name === `waystation_handovers_total{result="${result}"}`);
    if (metric !== undefined) found.set(result, metric.value);
  }
  return [...found.values()].some((value) => value > 0) ? found : null;
}
