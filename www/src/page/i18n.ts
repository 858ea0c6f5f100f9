import { computed, shallowRef } from 'vue';
import type { TextKey } from '../locales/en';
import { locale, type Locale } from './preferences';

export type { TextKey };

type Texts = Readonly<Record<TextKey, string>>;

/** A language is loaded when it is needed. */
const load: Readonly<Record<Locale, () => Promise<Texts>>> = {
  en: async () => (await import('../locales/en')).en,
  zh: async () => (await import('../locales/zh')).zh,
};
const texts = shallowRef<Texts | null>(null);

/** Shows the page in this language. The page has no texts before the first call has resolved. */
export async function setLanguage(to: Locale): Promise<void> {
  try {
    texts.value = await load[to]();
    locale.value = to;
  } catch (error) {
    // The server does not answer: the page keeps its language.
    if (texts.value === null) throw error;
  }
}

export type TextValues = Readonly<Record<string, string | number>>;

export function fill(text: string, values: TextValues): string {
  return text.replace(/\{(\w+)\}/g, (whole, name: string) => String(values[name] ?? whole));
}

/** The text in the current language. Templates that call it update when the language changes. */
export function t(key: TextKey, values: TextValues = {}): string {
  return fill(texts.value?.[key] ?? key, values);
}

/** As `t`, with the texts of a part that is loaded when it is needed. */
export function textsOf<K extends string>(own: Readonly<Record<Locale, Readonly<Record<K, string>>>>): (key: K | TextKey, values?: TextValues) => string {
  return (key, values = {}) => (key in own.en ? fill(own[locale.value][key as K], values) : t(key as TextKey, values));
}

/** The BCP 47 tag for the browser's formats. */
export const tag = computed(() => (locale.value === 'zh' ? 'zh-CN' : navigator.languages.find((one) => one.startsWith('en')) ?? 'en'));
const timeFormat = computed(() => new Intl.DateTimeFormat(tag.value, { hour: '2-digit', minute: '2-digit' }));
const dayFormat = computed(() => new Intl.DateTimeFormat(tag.value, { weekday: 'long', year: 'numeric', month: 'long', day: 'numeric' }));
const fullFormat = computed(() => new Intl.DateTimeFormat(tag.value, { dateStyle: 'medium', timeStyle: 'medium' }));
export const formatTime = (at: number): string => timeFormat.value.format(at);
export const formatDateTime = (at: number): string => fullFormat.value.format(at);

export function formatDay(at: number, now: number = Date.now()): string {
  const midnight = (time: number): number => new Date(time).setHours(0, 0, 0, 0);
  // Rounded, since a day with a clock change has 23 or 25 hours.
  const ago = Math.round((midnight(now) - midnight(at)) / 86_400_000);
  return ago === 0 ? t('chat.today') : ago === 1 ? t('chat.yesterday') : dayFormat.value.format(at);
}
