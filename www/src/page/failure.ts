import type { ClosedReason, LinkState } from '../waystation';
import type { Failure } from './conversations';
import { t, type TextKey } from './i18n';

const known: readonly string[] = ['queue_full', 'too_large', 'expired', 'closed', 'no_verdict', 'link_lost', 'rate_limited'];

/** What was wrong with a message that did not go through, and what to do. */
export function failureText({ code, detail }: Failure): string {
  return known.includes(code) ? t(`fail.${code}` as TextKey) : t('fail.other', { detail: detail || code });
}

export function closedText(reason: ClosedReason): string {
  if (reason.cause !== 'refused') return t(`link.closed.${reason.cause}`);
  const detail = reason.detail || reason.code;
  return detail ? t('link.closed.refused', { detail }) : t('link.closed.refused.plain', { status: reason.status ?? '?' });
}

/** Whether a token may help: without one nothing more is tried. */
export function wantsToken(state: LinkState): boolean {
  return state.name === 'closed' && (state.reason.cause === 'expired' || state.reason.cause === 'unusable' || state.reason.status === 401 || state.reason.status === 403);
}
