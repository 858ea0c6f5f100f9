import { computed } from 'vue';
import { en, type OperatorTextKey } from '../../locales/operator/en';
import { zh } from '../../locales/operator/zh';
import { fill, tag, texts, type Texts, type TextKey, type TextValues } from '../i18n';
import { locale } from '../preferences';

/** The texts of the page and of the operator page. */
const all: Texts<TextKey | OperatorTextKey> = { en: { ...texts.en, ...en }, zh: { ...texts.zh, ...zh } };

export const hasText = (key: string): key is OperatorTextKey => key in en;

/** As `t` of the page, with the operator page's texts too. */
export function t(key: TextKey | OperatorTextKey, values: TextValues = {}): string {
  return fill(all[locale.value][key], values);
}

// For tables: short, of equal width, with milliseconds.
const stampFormats = computed(() =>
  ([undefined, 'numeric'] as const).map(
    (year) =>
      new Intl.DateTimeFormat(tag.value, {
        year, month: 'short', day: '2-digit', hour: '2-digit', minute: '2-digit', second: '2-digit', fractionalSecondDigits: 3, hourCycle: 'h23',
      }),
  ),
);
const numberFormat = computed(() => new Intl.NumberFormat(tag.value, { maximumFractionDigits: 2 }));

/** Without the year if it is the current one. */
export const formatTimestamp = (at: number): string => stampFormats.value[+(new Date(at).getFullYear() !== new Date().getFullYear())]!.format(at);
export const formatNumber = (value: number): string => numberFormat.value.format(value);
