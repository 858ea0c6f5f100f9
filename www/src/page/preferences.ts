import { computed, shallowRef, watch } from 'vue';

export type Locale = 'en' | 'zh';
export type Switch = 'on' | 'off';
export type Theme = 'auto' | 'light' | 'dark';

const locales: readonly Locale[] = ['en', 'zh'];
const themes: readonly Theme[] = ['auto', 'light', 'dark'];

function stored<T extends string>(key: string, allowed: readonly T[]): T | null {
  try {
    const value = localStorage.getItem(key);
    return allowed.find((one) => one === value) ?? null;
  } catch {
    return null;
  }
}

function store(key: string, value: string): void {
  try {
    localStorage.setItem(key, value);
  } catch {
    // Without storage, a choice lasts until the page is closed.
  }
}

/** The first of the browser's languages that the page supports. */
export function browserLocale(languages: readonly string[]): Locale {
  for (const language of languages) {
    const found = locales.find((locale) => language.toLowerCase().split('-')[0] === locale);
    if (found !== undefined) return found;
  }
  return 'en';
}

export const locale = shallowRef<Locale>(stored('waystation.locale', locales) ?? browserLocale(navigator.languages));
/** Desktop notifications, where the browser permits them. */
export const notify = shallowRef<Switch>(stored('waystation.notify', ['on', 'off'] as const) ?? 'on');
export const theme = shallowRef<Theme>(stored('waystation.theme', themes) ?? 'auto');

const systemDark = window.matchMedia('(prefers-color-scheme: dark)');
const darkNow = shallowRef(systemDark.matches);
systemDark.addEventListener('change', (event) => {
  darkNow.value = event.matches;
});

export const dark = computed(() => (theme.value === 'auto' ? darkNow.value : theme.value === 'dark'));

watch(
  locale,
  (value, before) => {
    document.documentElement.lang = value === 'zh' ? 'zh-CN' : 'en';
    if (before !== undefined) store('waystation.locale', value);
  },
  { immediate: true },
);
watch(theme, (value) => store('waystation.theme', value));
watch(notify, (value) => store('waystation.notify', value));
watch(
  dark,
  (value) => {
    document.documentElement.dataset.theme = value ? 'dark' : 'light';
    document.querySelector('meta[name="theme-color"]')?.setAttribute('content', value ? '#12191a' : '#f5f3ee');
  },
  { immediate: true },
);
