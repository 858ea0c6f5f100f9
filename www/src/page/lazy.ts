import { shallowRef, type Component, type ShallowRef } from 'vue';
import { t } from './i18n';
import { addToast } from './notifications';

export interface LazyComponent {
  /** Null until it is loaded. */
  readonly component: Readonly<ShallowRef<Component | null>>;
  /** False if the server does not answer, or has a newer version of the page. */
  readonly load: () => Promise<boolean>;
}

/** A module that is not part of the first load. Null after a failure, which is shown to the user. */
export function lazyModule<T>(fetch: () => Promise<T>): () => Promise<T | null> {
  return () =>
    fetch().catch(() => {
      addToast(null, t('app.loadFailed'));
      return null;
    });
}

/** A component that is not part of the first load. A failure is shown to the user. */
export function lazyComponent(fetch: () => Promise<{ readonly default: Component }>): LazyComponent {
  const component = shallowRef<Component | null>(null);
  const load = lazyModule(fetch);
  return {
    component,
    async load() {
      component.value ??= (await load())?.default ?? null;
      return component.value !== null;
    },
  };
}
