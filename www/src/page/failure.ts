import type { ClosedReason, LinkState } from '../waystation';
import type { Failure } from './conversation_store';
import { formatDateTime, t, type TextKey } from './i18n';
import { expiredDetail, type TokenProblem } from './token_check';

const knownCodes: readonly string[] = ['queue_full', 'hold_full', 'too_large', 'expired', 'no_ack', 'link_lost', 'rate_limited', 'unavailable', 'undecided'];

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

/** Details of the code `unauthenticated` with a text of the page. */
const tokenTexts: Readonly<Record<string, TextKey>> = {
  [expiredDetail]: 'code.expired',
  'the token is not valid yet (nbf)': 'code.early',
  'the token is not signed with a key that is accepted here': 'code.key',
  'the token is from another issuer (iss)': 'code.issuer',
  'the token is for another audience (aud)': 'code.audience',
};

function refusalText({ code, detail }: { readonly code: string | null; readonly detail: string }): string | null {
  const key = tokenTexts[detail] ?? refusalTexts[code ?? ''];
  return key === undefined ? detail || code : t(key);
}

/** Why a token is not used, and what to do. */
export function tokenProblemText(problem: TokenProblem): string {
  if (problem.kind === 'malformed') return t('signin.token.bad');
  if (problem.detail === expiredDetail && problem.expiresAt !== null) return t('signin.token.expired', { time: formatDateTime(problem.expiresAt) });
  return t('signin.token.refused', { detail: refusalText(problem) ?? `HTTP ${problem.status}` });
}

export function closedText(reason: ClosedReason): string {
  const { cause, status } = reason;
  if (cause !== 'refused') return t(`link.closed.${cause}`);
  const why = refusalText(reason);
  return why ? t('link.closed.refused', { detail: why }) : t('link.closed.refused.plain', { status: status ?? '?' });
}

/** Whether another token may open the closed link. */
export function tokenMayHelp(state: LinkState): boolean {
  return state.name === 'closed' && (state.reason.cause === 'expired' || state.reason.cause === 'unusable' || state.reason.status === 401 || state.reason.status === 403);
}
