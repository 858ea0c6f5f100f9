import { nextTick } from 'vue';

/** Focuses the start of the visible page: its heading, or its text field. */
export function focusStart(): void {
  const visible = [...document.querySelectorAll<HTMLElement>('[data-start]')].filter((one) => one.offsetParent !== null);
  visible.pop()?.focus({ preventScroll: true });
}

/** Focuses the start of the page when a control disappears on its own key press, such as "Send again". */
export function restoreFocus(): void {
  const restore = async (): Promise<void> => {
    await nextTick();
    if (document.activeElement === document.body) focusStart();
  };
  document.addEventListener('click', (event) => {
    // A key press has detail 0.
    if (event.detail === 0) void restore();
  });
  document.addEventListener('keydown', ({ key }) => {
    if (key === 'Escape' || key === 'Enter') void restore();
  });
}
