/**
 * Why the client fetches a token: for a new connection, because the current token is about to expire, or because the
 * server rejected it.
 */
export type TokenReason = 'connect' | 'expiring' | 'expired' | 'ended' | 'refused';

/**
 * A token, or the application's function that fetches one. Null: there is no token. After `expired`, `ended` and
 * `refused`, only a token other than the last one leads to another attempt.
 */
export type TokenSource = string | ((reason: TokenReason) => string | null | Promise<string | null>);

export interface TokenClaims {
  readonly sub: string | null;
  /** Milliseconds since 1970. */
  readonly expiresAt: number | null;
}

/** The claims of a JWT. The server verifies them; the client does not. Null if the text is not a JWT. */
export function readToken(token: string): TokenClaims | null {
  // No padding: the browser sends the token in a subprotocol's name, which cannot contain "=".
  const payload = /^[\w-]+\.([\w-]+)\.[\w-]*$/.exec(token)?.[1];
  if (payload === undefined) return null;
  try {
    const bytes = Uint8Array.from(atob(payload.replace(/-/g, '+').replace(/_/g, '/')), (c) => c.charCodeAt(0));
    const claims: unknown = JSON.parse(new TextDecoder().decode(bytes));
    if (typeof claims !== 'object' || claims === null) return null;
    const sub = 'sub' in claims && typeof claims.sub === 'string' ? claims.sub : null;
    const exp = 'exp' in claims && typeof claims.exp === 'number' ? claims.exp * 1000 : null;
    return { sub, expiresAt: exp };
  } catch {
    return null;
  }
}
