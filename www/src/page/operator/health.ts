import { hasText, t } from './texts';
import { requestJson } from './api';

export type Health = readonly (readonly [name: string, value: string])[];

/** Reads /healthz, in the server's order. */
export async function readHealth(token: string): Promise<Health> {
  const members = Object.entries(await requestJson('healthz', { token }));
  return members.map(([name, value]) => [name, typeof value === 'object' ? JSON.stringify(value) : String(value)] as const);
}

/** A member of /healthz, or null. */
export const memberOf = (health: Health, name: string): string | null => health.find(([key]) => key === name)?.[1] ?? null;

/**
 * What the server can do, the name of a text `op.status.<name>`: the member `status`. In a cluster, a server that runs
 * without some of its engines is `partly_connected`, without all of them `disconnected`. Null before the first answer.
 */
export function stateOf(health: Health): string | null {
  const status = memberOf(health, 'status');
  const engines = Number(memberOf(health, 'cluster_engines'));
  const ready = Number(memberOf(health, 'cluster_engines_ready'));
  if (status !== 'ok' || ready >= engines) return status;
  return ready > 0 ? 'partly_connected' : 'disconnected';
}

/** The label of a member: the text `op.health.<name>`. A member of a newer server has its own name as label. */
export function healthLabel(name: string): string {
  const key = `op.health.${name}`;
  return hasText(key) ? t(key) : name.replaceAll('_', ' ');
}
