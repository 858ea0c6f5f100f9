import type { Environment } from './environment';

export interface PageListeners {
  readonly online?: () => void;
  readonly offline?: () => void;
  readonly pagehide?: () => void;
  /** Also the first time that the page is shown, not only when it returns from the browser's cache. */
  readonly pageshow?: () => void;
  readonly visible?: () => void;
}

/** Listens to the events of the page. Returns the function that stops listening. */
export function listenToPage({ page, document }: Environment, { visible, ...listeners }: PageListeners): () => void {
  const onVisibility = (): void => {
    if (document?.visibilityState === 'visible') visible?.();
  };
  const entries = Object.entries(listeners);
  for (const [name, listener] of entries) page?.addEventListener(name, listener);
  document?.addEventListener('visibilitychange', onVisibility);
  return () => {
    for (const [name, listener] of entries) page?.removeEventListener(name, listener);
    document?.removeEventListener('visibilitychange', onVisibility);
  };
}
