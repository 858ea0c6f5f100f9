import { hasText, t } from './texts';
import { requestJson } from './api';

export type Health = readonly (readonly [name: string, value: string])[];

/** Reads /healthz, in the server's order. */
export async function readHealth(token: string): Promise<Health> {
  const members = Object.entries(await requestJson('healthz', { token }));
  return members.map(([name, value]) => [name, typeof value === 'object' ? JSON.stringify(value) : String(value)] as const);
}

/** The label of a member: the text `op.health.<name>`. A member of a newer server has its own name as label. */
export function healthLabel(name: string): string {
  const key = `op.health.${name}`;
  return hasText(key) ? t(key) : name.replaceAll('_', ' ');
}
