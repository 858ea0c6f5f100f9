import type { ClosedReason, LinkState } from '../waystation';
import type { Failure } from './conversation_store';
import { t, type TextKey } from './i18n';

const knownCodes: readonly string[] = ['queue_full', 'too_large', 'expired', 'no_ack', 'link_lost', 'rate_limited'];

/** Why a message failed, and what to do. */
export function failureText({ code, detail }: Failure): string {
  return knownCodes.includes(code) ? t(`fail.${code}` as TextKey) : t('fail.other', { detail: detail || code });
}

/** Refusal codes with a text of the page. Other refusals show the server's text. */
const refusalTexts: Readonly<Record<string, TextKey>> = {
  unauthenticated: 'code.unauthenticated',
  not_that_user: 'code.not_that_user',
  not_a_member: 'code.not_that_user',
  bad_subject: 'code.bad_subject',
  bad_origin: 'code.bad_origin',
  bad_host: 'code.bad_origin',
};

export function closedText({ cause, status, code, detail }: ClosedReason): string {
  if (cause !== 'refused') return t(`link.closed.${cause}`);
  const key = refusalTexts[code ?? ''];
  const why = key === undefined ? detail || code : t(key);
  return why ? t('link.closed.refused', { detail: why }) : t('link.closed.refused.plain', { status: status ?? '?' });
}

/** Whether another token may open the closed link. */
export function tokenMayHelp(state: LinkState): boolean {
  return state.name === 'closed' && (state.reason.cause === 'expired' || state.reason.cause === 'unusable' || state.reason.status === 401 || state.reason.status === 403);
}
