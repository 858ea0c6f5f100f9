import { browserEnvironment, defaultTuning } from '../waystation';
import { routeAddress } from '../waystation/address';
import { probeRefusal } from '../waystation/probe';

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

/** Whether the server accepts a token for its user's push socket. Null: it gave no answer, or asked to try later. */
export async function acceptsToken(user: string, token: string): Promise<boolean | null> {
  const environment = browserEnvironment();
  const address = routeAddress(server, `push/${user}/`, environment);
  const { kind } = await probeRefusal(environment, address, token, defaultTuning.connectDeadlineMs);
  return kind === 'none' ? true : kind === 'identity' || kind === 'final' ? false : null;
}
