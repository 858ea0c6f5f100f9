/** What the operator's page asks the server's HTTP API, and how it reads the answers. */

export class ApiError extends Error {
  override readonly name = 'ApiError';

  constructor(
    /** 0: no answer at all. */
    readonly status: number,
    readonly code: string,
    readonly detail: string,
    /** A token would say who is asking, and none did. */
    readonly wantsToken = false,
  ) {
    super(detail || code);
  }
}

export interface ApiCall {
  readonly method?: 'GET' | 'POST' | 'DELETE';
  readonly token: string;
  readonly body?: string;
}

type JsonObject = { readonly [key: string]: unknown };

const isObject = (value: unknown): value is JsonObject => typeof value === 'object' && value !== null && !Array.isArray(value);

async function call(path: string, { method = 'GET', token, body }: ApiCall): Promise<string> {
  const headers: Record<string, string> = {};
  if (token !== '') headers.Authorization = `Bearer ${token}`;
  if (body !== undefined) headers['Content-Type'] = 'application/json';
  let response: Response;
  let text: string;
  try {
    // Relative, so that it also works below a folder of a larger site.
    response = await fetch(path, { method, headers, cache: 'no-store', ...(body === undefined ? {} : { body }) });
    text = await response.text();
  } catch {
    throw new ApiError(0, 'unreachable', '');
  }
  if (response.ok) return text;
  const error = readError(text);
  throw new ApiError(response.status, error.code, error.detail, response.headers.has('WWW-Authenticate'));
}

function readError(text: string): { code: string; detail: string } {
  try {
    const body: unknown = JSON.parse(text);
    if (isObject(body) && isObject(body.error)) return { code: String(body.error.code), detail: String(body.error.detail ?? '') };
  } catch {
    // Not one of ours: a proxy's page, for example.
  }
  return { code: 'unknown', detail: '' };
}

async function callJson(path: string, request: ApiCall): Promise<JsonObject> {
  const body: unknown = JSON.parse(await call(path, request));
  return isObject(body) ? body : {};
}

const count = (value: unknown): number => (typeof value === 'number' ? value : 0);
const strings = (value: unknown): string[] => (Array.isArray(value) ? value.filter((one): one is string => typeof one === 'string') : []);

export interface PresenceAnswer {
  readonly push: number;
  readonly groups: readonly string[];
}

export async function askPresence(user: string, token: string): Promise<PresenceAnswer> {
  const answer = await callJson(`api/v1/presence/${user}`, { token });
  return { push: count(answer.push), groups: strings(answer.groups) };
}

export async function pushTest(user: string, json: string, token: string): Promise<number> {
  return count((await callJson(`api/v1/push/${user}`, { method: 'POST', token, body: json })).reached);
}

export async function endSessions(user: string, token: string): Promise<number> {
  return count((await callJson(`api/v1/sessions/${user}`, { method: 'DELETE', token })).closed);
}

// --- metrics ------------------------------------------------------------------

export interface Metric {
  /** With its labels: each is a row of its own. */
  readonly name: string;
  readonly help: string;
  readonly counter: boolean;
  readonly value: number;
}

/** The Prometheus text format, without what only a Prometheus needs: buckets, sums and counts of histograms. */
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
    // A part of a histogram or a summary has no type under its own name.
    if (type === undefined && types.size > 0) continue;
    const number = Number(value);
    if (!Number.isFinite(number)) continue;
    metrics.push({ name: name + labels, help: helps.get(name) ?? '', counter: type === 'counter', value: number });
  }
  return metrics;
}

export async function readMetrics(token: string): Promise<Metric[]> {
  return parseMetrics(await call('metrics', { token }));
}

export async function readHealth(token: string): Promise<readonly (readonly [string, string])[]> {
  const answer = await callJson('healthz', { token });
  return Object.entries(answer).map(([key, value]) => [key, typeof value === 'object' ? JSON.stringify(value) : String(value)] as const);
}

// --- audit --------------------------------------------------------------------

export interface AuditRow {
  readonly id: number | string;
  readonly at: number;
  readonly node: string;
  readonly group: string;
  readonly from: string;
  readonly to: string;
  readonly outcome: string;
  /** Empty in a gap, like `bytes`: what is missing has nothing that could be counted. */
  readonly reached: number | '';
  readonly bytes: number | '';
  readonly message_id: string;
  /** Of a gap: how many rows are missing, empty where nobody knows. */
  readonly lost: number | '';
  /** Of a gap: when it ended. Empty in every other row. */
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

const word = (value: unknown): string => (value === null || value === undefined ? '' : String(value));

export function auditRow(value: unknown): AuditRow {
  const row = isObject(value) ? value : {};
  const isGap = row.outcome === 'gap';
  return {
    id: typeof row.id === 'number' ? row.id : word(row.id),
    at: count(row.at),
    node: word(row.node),
    group: word(row.group),
    from: word(row.from),
    to: word(row.to),
    outcome: word(row.outcome),
    reached: isGap ? '' : count(row.reached),
    bytes: isGap ? '' : count(row.bytes),
    message_id: word(row.message_id),
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
  const answer = await callJson(auditPath(filter, after, limit, order), { token });
  const rows = Array.isArray(answer.rows) ? answer.rows.map(auditRow) : [];
  return { rows, next: answer.next === null || answer.next === undefined ? null : String(answer.next) };
}

const columns = ['id', 'at', 'node', 'group', 'from', 'to', 'outcome', 'reached', 'bytes', 'message_id', 'lost', 'lost_until'] as const;

function cell(value: string): string {
  // A spreadsheet takes a leading sign for a formula, and message ids are the clients' own words.
  const safe = /^[=+\-@\t\r]/.test(value) ? `'${value}` : value;
  return /[",\r\n]/.test(safe) ? `"${safe.replace(/"/g, '""')}"` : safe;
}

/** RFC 4180, times as ISO 8601. */
export function toCsv(rows: readonly AuditRow[]): string {
  const text = (row: AuditRow, column: (typeof columns)[number]): string => {
    const value = row[column];
    return (column === 'at' || column === 'lost_until') && value !== '' ? new Date(Number(value)).toISOString() : String(value);
  };
  const lines = rows.map((row) => columns.map((column) => cell(text(row, column))).join(','));
  return [columns.join(','), ...lines, ''].join('\r\n');
}
