import { computed } from 'vue';
import { en, type OperatorTextKey } from '../../locales/operator/en';
import { zh } from '../../locales/operator/zh';
import { tag, textsOf } from '../i18n';

export const hasText = (key: string): key is OperatorTextKey => key in en;

/** As `t` of the page, with the operator page's texts too. */
export const t = textsOf<OperatorTextKey>({ en, zh });

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
