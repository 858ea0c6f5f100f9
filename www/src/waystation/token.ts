/**
 * Why a token is asked for: for a new connection, because the present one is
 * about to expire, or because the server turned the last one away.
 */
export type TokenReason = 'connect' | 'expiring' | 'expired' | 'ended' | 'refused';

/**
 * A token, or the application's function that brings one. After `expired`,
 * `ended` and `refused` only a token other than the last one leads to another
 * attempt; null means that there is none.
 */
export type TokenSource = string | ((reason: TokenReason) => string | null | Promise<string | null>);

export interface TokenClaims {
  readonly sub: string | null;
  /** Milliseconds since 1970. */
  readonly expiresAt: number | null;
}

/** What a JWT says of itself. It is read, not verified: that is the server's part. Null if it is no JWT. */
export function readToken(token: string): TokenClaims | null {
  // Without padding: "=" could not go into a subprotocol's name, where a browser puts it.
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
