import type { LinkOptions } from './link';

/** A link, as the others of the page see it. */
export interface Wakeable {
  readonly options: LinkOptions;
  /** Another link to the same server has opened. */
  wake(): void;
}

const links = new Set<Wakeable>();

/** Returns the function that removes the link. */
export function registerLink(link: Wakeable): () => void {
  links.add(link);
  return () => void links.delete(link);
}

/** A link has opened, so that the server is back: the others of the page do not wait for their delay. */
export function wakeOthers(opened: Wakeable): void {
  const { url, environment } = opened.options;
  for (const link of [...links]) {
    if (link !== opened && link.options.url.origin === url.origin && link.options.environment.page === environment.page) link.wake();
  }
}
