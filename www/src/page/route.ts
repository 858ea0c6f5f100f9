import { shallowRef, type Ref } from 'vue';
import { isUser } from '../waystation';

/** A page. The server has files only, so that the page's address is behind the `#`. */
export type Route =
  | { readonly page: 'home' }
  | { readonly page: 'chat'; readonly peer: string }
  | { readonly page: 'notices' }
  | { readonly page: 'operator' };

export interface Arrival {
  readonly route: Route;
  /** The user to sign in as, from links such as `#/?me=alice&to=bob`. */
  readonly me: string | null;
  readonly token: string | null;
}

export function readHash(hash: string): Arrival {
  const [path = '', query = ''] = hash.replace(/^#?\/?/, '').split('?', 2);
  const parameters = new URLSearchParams(query);
  const parts = path.split('/').filter((part) => part !== '');
  const me = parameters.get('me');
  const peer = parameters.get('to') ?? (parts[0] === 'with' ? (parts[1] ?? null) : null);
  return { route: readRoute(parts[0], peer), me: me !== null && isUser(me) ? me : null, token: parameters.get('token') };
}

function readRoute(first: string | undefined, peer: string | null): Route {
  if (first === 'operator') return { page: 'operator' };
  if (first === 'notices') return { page: 'notices' };
  return peer !== null && isUser(peer) ? { page: 'chat', peer } : { page: 'home' };
}

export function writeHash(route: Route): string {
  switch (route.page) {
    case 'home':
      return '#/';
    case 'chat':
      return `#/with/${route.peer}`;
    case 'notices':
      return '#/notices';
    case 'operator':
      return '#/operator';
  }
}

/** A link to a page as this user, for another tab. */
export const linkTo = (route: Route, me: string): string => `${writeHash(route)}?me=${me}`;

/** Follows a link within the page. With a modifier key, the browser opens it in another tab. */
export function follow(event: MouseEvent, to: Route): void {
  if (event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
  event.preventDefault();
  go(to);
}

const current = shallowRef<Route>({ page: 'home' });

export const route: Readonly<Ref<Route>> = current;

export function go(to: Route, how: 'push' | 'replace' = 'push'): void {
  const hash = writeHash(to);
  if (how === 'replace') history.replaceState(null, '', hash);
  else if (location.hash !== hash) history.pushState(null, '', hash);
  current.value = to;
}

/** Follows the address. `arrive` handles the identity of a link, and calls `open` to show its page. */
export function startRouting(arrive: (arrival: Arrival, open: () => void) => void): void {
  const read = (): void => {
    const arrival = readHash(location.hash);
    // The address is visible, stored and shared, so that token and user are removed at once.
    go(current.value, 'replace');
    arrive(arrival, () => go(arrival.route, 'replace'));
  };
  window.addEventListener('hashchange', read);
  window.addEventListener('popstate', read);
  read();
}
