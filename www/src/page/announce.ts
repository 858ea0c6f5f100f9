import { readonly, shallowRef } from 'vue';

const text = shallowRef('');

/** Text for screen readers. Its element is always in the page: screen readers may miss an element that is added with its text. */
export const announcement = readonly(text);

export function announce(message: string): void {
  text.value = message;
}
