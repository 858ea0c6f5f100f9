import { computed } from 'vue';
import { en, type TextKey } from '../locales/en';
import { zh } from '../locales/zh';
import { locale, type Locale } from './preferences';

export type { TextKey };

export type Texts<K extends string> = Readonly<Record<Locale, Readonly<Record<K, string>>>>;

export const texts: Texts<TextKey> = { en, zh };

export type TextValues = Readonly<Record<string, string | number>>;

export function fill(text: string, values: TextValues): string {
  return text.replace(/\{(\w+)\}/g, (whole, name: string) => String(values[name] ?? whole));
}

/** The text in the current language. Templates that call it update when the language changes. */
export function t(key: TextKey, values: TextValues = {}): string {
  return fill(texts[locale.value][key], values);
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
