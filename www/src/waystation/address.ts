import type { Environment } from './environment';

/** The http(s) address of a route on the server, given as an http, https, ws or wss address or a path. */
export function routeAddress(server: string | URL | undefined, route: string, environment: Environment): URL {
  const base = new URL(server ?? '/', environment.location);
  if (base.protocol === 'ws:') base.protocol = 'http:';
  if (base.protocol === 'wss:') base.protocol = 'https:';
  if (base.protocol !== 'http:' && base.protocol !== 'https:') {
    throw new TypeError(`"${base.href}" is not a server address: http, https, ws and wss addresses are`);
  }
  // Below a folder of a larger site the routes are below it too.
  base.pathname = base.pathname.replace(/\/*$/, '/') + route;
  base.search = '';
  base.hash = '';
  return base;
}
