/** Requests of the operator page to the server's HTTP API. */

export class ApiError extends Error {
  override readonly name = 'ApiError';

  constructor(
    /** 0: no answer. */
    readonly status: number,
    readonly code: string,
    readonly detail: string,
    /** The server requires a token, and the request had none. */
    readonly requiresToken = false,
  ) {
    super(detail || code);
  }
}

export interface ApiRequest {
  readonly method?: 'GET' | 'POST' | 'DELETE';
  readonly token: string;
  readonly body?: string;
}

export type JsonObject = { readonly [key: string]: unknown };

export const isObject = (value: unknown): value is JsonObject => typeof value === 'object' && value !== null && !Array.isArray(value);

export async function request(path: string, { method = 'GET', token, body }: ApiRequest): Promise<string> {
  const headers: Record<string, string> = {};
  if (token !== '') headers.Authorization = `Bearer ${token}`;
  if (body !== undefined) headers['Content-Type'] = 'application/json';
  let response: Response;
  let text: string;
  try {
    // Relative, so that it also works in a folder of a larger site.
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
    // Another server's page, such as a proxy's.
  }
  return { code: 'unknown', detail: '' };
}

export async function requestJson(path: string, options: ApiRequest): Promise<JsonObject> {
  const body: unknown = JSON.parse(await request(path, options));
  return isObject(body) ? body : {};
}

export const count = (value: unknown): number => (typeof value === 'number' ? value : 0);
/** Whether a node of the cluster did not answer, so that the answer may be incomplete. */
export const isPartial = (answer: JsonObject): boolean => answer.partial === true;
const strings = (value: unknown): string[] => (Array.isArray(value) ? value.filter((one): one is string => typeof one === 'string') : []);

export interface UserPresence {
  readonly push: number;
  readonly groups: readonly string[];
  /** A node did not answer. */
  readonly partial: boolean;
}

/** The number of sockets that a push reached, or that were closed. */
export interface SocketCount {
  readonly sockets: number;
  /** A node did not answer. */
  readonly partial: boolean;
}

export async function fetchPresence(user: string, token: string): Promise<UserPresence> {
  const presence = await requestJson(`api/v1/presence/${user}`, { token });
  return { push: count(presence.push), groups: strings(presence.groups), partial: isPartial(presence) };
}

export async function sendPush(user: string, json: string, token: string): Promise<SocketCount> {
  const answer = await requestJson(`api/v1/push/${user}`, { method: 'POST', token, body: json });
  return { sockets: count(answer.reached), partial: isPartial(answer) };
}

export async function endSessions(user: string, token: string): Promise<SocketCount> {
  const answer = await requestJson(`api/v1/sessions/${user}`, { method: 'DELETE', token });
  return { sockets: count(answer.closed), partial: isPartial(answer) };
}

/** Whether the operator API requires a token that this browser does not have in its cookie. */
export async function needsOperatorToken(): Promise<boolean> {
  try {
    await request('api/v1/presence/0', { token: '' });
    return false;
  } catch (error) {
    return error instanceof ApiError && (error.requiresToken || error.code === 'missing_scope');
  }
}
