import { nextTick } from 'vue';

/** Goes where one begins on the page that is shown: to its heading, or to the field to write in. */
export function focusStart(): void {
  const visible = [...document.querySelectorAll<HTMLElement>('[data-start]')].filter((one) => one.offsetParent !== null);
  visible.pop()?.focus({ preventScroll: true });
}

/** A control that went away with its own press, such as "Send again", would leave the keyboard nowhere. */
export function keepFocus(): void {
  const look = async (): Promise<void> => {
    await nextTick();
    if (document.activeElement === document.body) focusStart();
  };
  document.addEventListener('click', (event) => {
    // 0: pressed by the keyboard.
    if (event.detail === 0) void look();
  });
  document.addEventListener('keydown', ({ key }) => {
    if (key === 'Escape' || key === 'Enter') void look();
  });
}
