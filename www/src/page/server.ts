/** The relay's address for the client: the folder that the page came from, so that both may lie below a larger site. */
export const server = '.';

/**
 * Whether nobody is let in here without a token, and this browser has none in its cookie. Asked in a
 * way that is answered, and not refused, where no tokens are taken and the page is on the same machine.
 */
export async function wantsToken(): Promise<boolean> {
  try {
    const { status, headers } = await fetch('api/v1/presence/0', { cache: 'no-store' });
    return status === 401 && headers.has('WWW-Authenticate');
  } catch {
    return false;
  }
}
