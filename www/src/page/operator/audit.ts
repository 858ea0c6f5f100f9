import { hasText, t } from './texts';
import { count, isObject, requestJson } from './api';

export interface AuditRow {
  readonly id: number | string;
  readonly at: number;
  readonly node: string;
  readonly group: string;
  readonly from: string;
  readonly to: string;
  readonly outcome: string;
  /** Empty in a gap, like `bytes`. */
  readonly reached: number | '';
  readonly bytes: number | '';
  readonly message_id: string;
  /** In a gap: the number of lost rows, empty if unknown. */
  readonly lost: number | '';
  /** In a gap: its end. Empty in other rows. */
  readonly lost_until: number | '';
}

export interface AuditFilter {
  readonly since: number | null;
  readonly until: number | null;
  /** Sender or receiver. */
  readonly user: string;
  readonly from: string;
  readonly to: string;
  readonly outcome: string;
}

export interface AuditPage {
  readonly rows: readonly AuditRow[];
  readonly next: string | null;
}

const string = (value: unknown): string => (value === null || value === undefined ? '' : String(value));

export function auditRow(value: unknown): AuditRow {
  const row = isObject(value) ? value : {};
  const isGap = row.outcome === 'gap';
  return {
    id: typeof row.id === 'number' ? row.id : string(row.id),
    at: count(row.at),
    node: string(row.node),
    group: string(row.group),
    from: string(row.from),
    to: string(row.to),
    outcome: string(row.outcome),
    reached: isGap ? '' : count(row.reached),
    bytes: isGap ? '' : count(row.bytes),
    message_id: string(row.message_id),
    lost: typeof row.lost === 'number' ? row.lost : '',
    lost_until: typeof row.lost_until === 'number' ? row.lost_until : '',
  };
}

export type AuditOrder = 'oldest' | 'newest';

export function auditPath(filter: AuditFilter, after: string | null, limit: number, order: AuditOrder): string {
  const query = new URLSearchParams({ limit: String(limit), order });
  if (filter.since !== null) query.set('since', String(filter.since));
  if (filter.until !== null) query.set('until', String(filter.until));
  for (const key of ['user', 'from', 'to', 'outcome'] as const) if (filter[key] !== '') query.set(key, filter[key]);
  if (after !== null) query.set('after', after);
  return `api/v1/audit?${query.toString()}`;
}

export async function readAudit(filter: AuditFilter, after: string | null, limit: number, order: AuditOrder, token: string): Promise<AuditPage> {
  const page = await requestJson(auditPath(filter, after, limit, order), { token });
  const rows = Array.isArray(page.rows) ? page.rows.map(auditRow) : [];
  return { rows, next: page.next === null || page.next === undefined ? null : String(page.next) };
}

const columns = ['id', 'at', 'node', 'group', 'from', 'to', 'outcome', 'reached', 'bytes', 'message_id', 'lost', 'lost_until'] as const;

function cell(value: string): string {
  // A spreadsheet runs text with a leading sign as a formula, and clients choose message ids.
  const safe = /^[=+\-@\t\r]/.test(value) ? `'${value}` : value;
  return /[",\r\n]/.test(safe) ? `"${safe.replace(/"/g, '""')}"` : safe;
}

/** CSV according to RFC 4180, times in ISO 8601. */
export function toCsv(rows: readonly AuditRow[]): string {
  const text = (row: AuditRow, column: (typeof columns)[number]): string => {
    const value = row[column];
    return (column === 'at' || column === 'lost_until') && value !== '' ? new Date(Number(value)).toISOString() : String(value);
  };
  const lines = rows.map((row) => columns.map((column) => cell(text(row, column))).join(','));
  return [columns.join(','), ...lines, ''].join('\r\n');
}

/** The outcomes that the server writes. `gap`: rows that could not be written. */
export const outcomes = ['pushed', 'undelivered', 'dropped', 'gap'] as const;

/** The name of an outcome in the language of the page. An outcome of a newer server keeps its name. */
export function outcomeText(name: string): string {
  const key = `op.outcome.${name}`;
  return hasText(key) ? t(key) : name;
}
