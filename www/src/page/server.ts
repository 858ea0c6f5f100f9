/** The relay's address: the folder of the page, so that both may be part of a larger site. */
export const server = '.';

/**
 * Whether the server requires a token, and this browser has none in its cookie. A server without tokens answers the
 * request to pages on the same machine.
 */
export async function requiresToken(): Promise<boolean> {
  try {
    const { status, headers } = await fetch('api/v1/presence/0', { cache: 'no-store' });
    return status === 401 && headers.has('WWW-Authenticate');
  } catch {
    return false;
  }
}
