import { readonly, shallowRef } from 'vue';

const text = shallowRef('');

/** For those who listen instead of looking. It has one place in the page, which is always there: one that comes with its text may go unheard. */
export const announcement = readonly(text);

export function announce(what: string): void {
  text.value = what;
}
