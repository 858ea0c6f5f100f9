import type { Environment } from './environment';

/** The http or https address of a route. `server`: an http, https, ws or wss address, or a path. */
export function routeAddress(server: string | URL | undefined, route: string, environment: Environment): URL {
  const base = new URL(server ?? '/', environment.location);
  if (base.protocol === 'ws:') base.protocol = 'http:';
  if (base.protocol === 'wss:') base.protocol = 'https:';
  if (base.protocol !== 'http:' && base.protocol !== 'https:') {
    throw new TypeError(`server "${base.href}": not a server address; use http, https, ws or wss`);
  }
  // If the server is in a folder of a larger site, its routes are too.
  base.pathname = base.pathname.replace(/\/*$/, '/') + route;
  base.search = '';
  base.hash = '';
  return base;
}
