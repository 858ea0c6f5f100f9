import { en, type ExtraTextKey } from '../../locales/extras/en';
import { zh } from '../../locales/extras/zh';
import { tag, textsOf } from '../i18n';

/** As `t` of the page, with the texts of the parts that are loaded when they are needed. */
export const t = textsOf<ExtraTextKey>({ en, zh });

/** A number of bytes with its unit. */
export function formatBytes(bytes: number): string {
  const [value, unit] = bytes < 1024 ? [bytes, 'B'] : bytes < 1024 * 1024 ? [bytes / 1024, 'KiB'] : [bytes / 1024 / 1024, 'MiB'];
  return `${new Intl.NumberFormat(tag.value, { maximumFractionDigits: value < 10 ? 1 : 0 }).format(value)} ${unit}`;
}
