import { shallowRef, type Ref } from 'vue';
import { ApiError } from './api';
import { errorText } from './errors';
import { readHealth, type Health } from './health';
import { readMetrics, type Metric } from './metrics';
import { usePolling } from './polling';
import { addSample, type Sample } from './samples';

const intervalMs = 2_000;

export interface LiveStats {
  readonly metrics: Readonly<Ref<readonly Metric[]>>;
  /** The increase of each counter per second, by name. */
  readonly rates: Readonly<Ref<ReadonlyMap<string, number>>>;
  readonly health: Readonly<Ref<Health>>;
  /** The readings of /healthz of the last ten minutes, oldest first. */
  readonly samples: Readonly<Ref<readonly Sample[]>>;
  /** Null before the first answer. */
  readonly readAt: Readonly<Ref<number | null>>;
  readonly error: Readonly<Ref<string | null>>;
  readonly refresh: () => void;
}

/** Reads /healthz and /metrics every two seconds while the page is visible, until the scope ends. */
export function useLiveStats(token: () => string): LiveStats {
  const metrics = shallowRef<readonly Metric[]>([]);
  const rates = shallowRef<ReadonlyMap<string, number>>(new Map());
  const health = shallowRef<Health>([]);
  const samples = shallowRef<readonly Sample[]>([]);
  const readAt = shallowRef<number | null>(null);
  const error = shallowRef<string | null>(null);
  let metricsReadAt = 0;

  function update(read: readonly Metric[]): void {
    const now = Date.now();
    const before = new Map(metrics.value.map((metric) => [metric.name, metric.value]));
    const seconds = (now - metricsReadAt) / 1000;
    rates.value = new Map(
      read
        .filter((metric) => metric.counter && before.has(metric.name))
        // A counter decreases when the server restarts.
        .map((metric) => [metric.name, Math.max(0, metric.value - (before.get(metric.name) ?? 0)) / seconds]),
    );
    metrics.value = read;
    metricsReadAt = now;
  }

  function use([metricsRead, healthRead]: readonly [PromiseSettledResult<readonly Metric[]>, PromiseSettledResult<Health>]): void {
    if (healthRead.status === 'fulfilled') {
      health.value = healthRead.value;
      samples.value = addSample(samples.value, healthRead.value, Date.now());
    }
    if (metricsRead.status === 'fulfilled') update(metricsRead.value);
    if (healthRead.status === 'fulfilled' || metricsRead.status === 'fulfilled') readAt.value = Date.now();
    const failed = [healthRead, metricsRead].find(
      (one): one is PromiseRejectedResult => one.status === 'rejected' && !(one.reason instanceof ApiError && one.reason.status === 404),
    );
    error.value = failed === undefined ? null : errorText(failed.reason, token());
  }

  const refresh = usePolling(
    // Either may be missing or forbidden on its own.
    () => Promise.allSettled([readMetrics(token()), readHealth(token())]),
    (answer) => answer.status === 'fulfilled' && use(answer.value),
    () => intervalMs,
  );

  return { metrics, rates, health, samples, readAt, error, refresh: () => void refresh() };
}
