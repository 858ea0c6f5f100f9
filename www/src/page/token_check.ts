import { browserEnvironment, defaultTuning, readToken } from '../waystation';
import { routeAddress } from '../waystation/address';
import { probeRefusal, type Refusal } from '../waystation/probe';
import { server } from './server';

/** Why a token is not used. `refused`: by the server, or because it has expired and the server does not answer. */
export type TokenProblem =
  | { readonly kind: 'malformed' }
  | { readonly kind: 'refused'; readonly status: number | null; readonly code: string | null; readonly detail: string; readonly expiresAt: number | null };

/** The server's text for an expired token. */
export const expiredDetail = 'the token has expired';

/** Milliseconds since 1970, as the token claims. */
export const expiry = (token: string): number => readToken(token)?.expiresAt ?? Infinity;

/** Asks the server about a token for its user's push socket. Never rejects. */
function probeToken(user: string, token: string): Promise<Refusal> {
  const environment = browserEnvironment();
  const address = routeAddress(server, `push/${user}/`, environment);
  return probeRefusal(environment, address, token, defaultTuning.connectDeadlineMs);
}

/** Whether the server accepts the token of this user. Null: it gave no answer, or asked to try later. */
export async function isAccepted(user: string, token: string): Promise<boolean | null> {
  const { kind } = await probeToken(user, token);
  return kind === 'none' ? true : kind === 'identity' || kind === 'final' ? false : null;
}

/** Why the token of this user cannot be used; null if it may. Without an answer of the server, the page's own clock decides. */
export async function problemOfToken(user: string, token: string): Promise<TokenProblem | null> {
  const refusal = await probeToken(user, token);
  const expiresAt = readToken(token)?.expiresAt ?? null;
  if (refusal.kind === 'identity') return { ...refusal, kind: 'refused', expiresAt };
  if (refusal.kind !== 'none' && expiry(token) <= Date.now()) return { kind: 'refused', status: null, code: null, detail: expiredDetail, expiresAt };
  return null;
}
