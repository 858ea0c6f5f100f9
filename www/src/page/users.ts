import { t } from './i18n';
import { isUser } from '../waystation';

/** What is wrong with a user id as typed, or null. */
export function userProblem(text: string, self: string | null = null): string | null {
  if (text === '') return t('user.empty');
  if (/^[0-9a-z]*$/.test(text) && text.length > 64) return t('user.long', { n: text.length });
  if (!isUser(text)) return t('user.bad', { text: text.length > 24 ? `${text.slice(0, 24)}…` : text });
  if (text === self) return t('user.self');
  return null;
}

/** People write their names with capitals and blanks around; the server knows small letters. */
export function tidyUser(text: string): string {
  return text.trim().toLowerCase();
}
