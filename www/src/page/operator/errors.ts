import { t } from './texts';
import { ApiError } from './api';

/** Why a request failed, and what to do. `scope`: the scope that a token for the request needs. */
export function errorText(error: unknown, token: string, scope = ''): string {
  if (!(error instanceof ApiError)) return String(error);
  if (error.status === 0) return t('link.cause.unreachable');
  if (error.code === 'not_an_operator') return t('op.denied.address');
  if (error.code === 'missing_scope' || (error.requiresToken && token === '')) return t('op.denied', { scope });
  return t('op.failed', { status: error.status, detail: error.message });
}
