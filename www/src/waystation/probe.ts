import type { Environment } from './environment';
import { parseFrame } from './protocol';

/** Why a WebSocket failed to open, as far as a plain GET can tell. */
export type Refusal =
  /** The same request passes now. */
  | { readonly kind: 'none' }
  | { readonly kind: 'unreachable' }
  /** An answer that a page of this origin may not read. */
  | { readonly kind: 'hidden' }
  /** The server is at a limit, or a proxy has no server. `afterMs`: the value of Retry-After, 0 without one. */
  | { readonly kind: 'later'; readonly afterMs: number }
  /** `identity`: another token may pass. `final`: the refusal does not pass. */
  | { readonly kind: 'final' | 'identity'; readonly status: number; readonly code: string | null; readonly detail: string };

/** The longest accepted Retry-After, since the server's value may be a mistake. */
const maxRetryAfterMs = 5 * 60_000;

/**
 * Sends a plain GET to a WebSocket route. It passes the same checks as the upgrade, and a browser hides the answer to
 * a refused upgrade from the page. Never rejects.
 */
export async function probeRefusal(environment: Environment, address: URL, token: string | null, deadlineMs: number): Promise<Refusal> {
  const abort = new AbortController();
  const deadline = setTimeout(() => abort.abort(), deadlineMs);
  try {
    const response = await environment.fetch(address.href, {
      headers: token === null ? {} : { Authorization: `Bearer ${token}` },
      // The upgrade carried the cookie too, also to another origin.
      credentials: 'include',
      cache: 'no-store',
      signal: abort.signal,
    });
    const { status } = response;
    if (status === 426) return { kind: 'none' };
    if (status === 429 || (status >= 500 && status !== 501)) {
      const seconds = Number(response.headers.get('Retry-After') ?? '0');
      return { kind: 'later', afterMs: seconds > 0 ? Math.min(seconds * 1000, maxRetryAfterMs) : 0 };
    }
    const frame = parseFrame(await response.text());
    const { code, detail } = frame.kind === 'error' ? frame.error : { code: null, detail: '' };
    if (status === 401 || status === 403) return { kind: 'identity', status, code, detail };
    if (status >= 400) return { kind: 'final', status, code, detail };
    // Another server answers at this address, such as a captive portal.
    return { kind: 'unreachable' };
  } catch {
    return { kind: (await answersHidden(environment, address, abort.signal)) ? 'hidden' : 'unreachable' };
  } finally {
    clearTimeout(deadline);
  }
}

/** Whether a server of another origin answers at all. The page sees neither status nor content of this answer. */
async function answersHidden(environment: Environment, address: URL, signal: AbortSignal): Promise<boolean> {
  try {
    if (address.origin === new URL(environment.location).origin) return false;
    await environment.fetch(address.href, { mode: 'no-cors', credentials: 'omit', cache: 'no-store', signal });
    return true;
  } catch {
    return false;
  }
}
