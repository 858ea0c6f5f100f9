import { t } from './i18n';
import { isUser, maxUserLength } from '../waystation/names';

/** The error of a user id as typed, or null. `self`: the user of this tab, who is no valid peer. */
export function userError(text: string, self: string | null = null): string | null {
  if (text === '') return t('user.empty');
  if (text.length > maxUserLength && isUser(text.slice(0, maxUserLength))) {
    return t('user.long', { n: text.length, max: maxUserLength });
  }
  if (!isUser(text)) return t('user.bad', { text: text.length > 24 ? `${text.slice(0, 24)}…` : text });
  if (text === self) return t('user.self');
  return null;
}

/** Users type capitals and spaces; user ids have lower-case letters only. */
export function normalizeUser(text: string): string {
  return text.trim().toLowerCase();
}
