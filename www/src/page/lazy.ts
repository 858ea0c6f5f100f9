import { shallowRef, type Component, type ShallowRef } from 'vue';
import { t } from './i18n';
import { addToast } from './notifications';

export interface LazyComponent {
  /** Null until it is loaded. */
  readonly component: Readonly<ShallowRef<Component | null>>;
  /** False if the server does not answer, or has a newer version of the page. */
  readonly load: () => Promise<boolean>;
}

/** A component that is not part of the first load. A failure is shown to the user. */
export function lazyComponent(fetch: () => Promise<{ readonly default: Component }>): LazyComponent {
  const component = shallowRef<Component | null>(null);
  return {
    component,
    async load() {
      try {
        component.value ??= (await fetch()).default;
        return true;
      } catch {
        addToast(null, t('app.loadFailed'));
        return false;
      }
    },
  };
}
