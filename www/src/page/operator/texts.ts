import { computed } from 'vue';
import { en, type OperatorTextKey } from '../../locales/operator/en';
import { zh } from '../../locales/operator/zh';
import { fill, t as pageText, tag, type TextKey, type TextValues } from '../i18n';
import { locale, type Locale } from '../preferences';

const texts: Readonly<Record<Locale, Readonly<Record<OperatorTextKey, string>>>> = { en, zh };

export const hasText = (key: string): key is OperatorTextKey => key in en;

/** As `t` of the page, with the operator page's texts too. */
export function t(key: TextKey | OperatorTextKey, values: TextValues = {}): string {
  return hasText(key) ? fill(texts[locale.value][key], values) : pageText(key, values);
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
