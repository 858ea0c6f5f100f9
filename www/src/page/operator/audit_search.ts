import { ref, shallowRef, type Ref } from 'vue';
import { ApiError } from './api';
import { readAudit, type AuditFilter, type AuditPage, type AuditRow } from './audit';
import { errorText } from './errors';
import { t } from './texts';

const pageRows = 100;
const exportRows = 1_000;

export interface AuditSearch {
  readonly rows: Readonly<Ref<readonly AuditRow[]>>;
  /** Where the next rows begin; null: there are no more. */
  readonly next: Readonly<Ref<string | null>>;
  /** Whether a search has been answered. */
  readonly searched: Readonly<Ref<boolean>>;
  /** Why there are no rows to show. Empty if the last request for them succeeded. */
  readonly error: Readonly<Ref<string>>;
  /** Why `readAll` failed. */
  readonly exportError: Readonly<Ref<string>>;
  /** Rows to show have been requested. */
  readonly busy: Readonly<Ref<boolean>>;
  /** All rows have been requested. */
  readonly exporting: Readonly<Ref<boolean>>;
  /** Replaces the rows by the newest that match. Resolves to false if it failed, or if a newer request replaced it. */
  readonly search: (filter: AuditFilter) => Promise<boolean>;
  /** Adds the next rows of the search that is shown. */
  readonly more: () => Promise<void>;
  /** Reads all rows that match, oldest first. Null if it failed. */
  readonly readAll: (filter: AuditFilter) => Promise<readonly AuditRow[] | null>;
}

/** Searches the audit. Only the answer to the newest request for rows has an effect. */
export function useAuditSearch(token: () => string): AuditSearch {
  const rows = shallowRef<readonly AuditRow[]>([]);
  const next = ref<string | null>(null);
  const searched = ref(false);
  const error = ref('');
  const exportError = ref('');
  const busy = ref(false);
  const exporting = ref(false);
  /** The filter of the rows shown. */
  let applied: AuditFilter | null = null;
  /** Changes with each request for rows. */
  let round = 0;

  const problem = (reason: unknown): string =>
    reason instanceof ApiError && reason.status === 404 ? t('op.audit.off') : errorText(reason, token(), 'admin');

  async function read(filter: AuditFilter, after: string | null, use: (page: AuditPage) => void): Promise<boolean> {
    round += 1;
    const mine = round;
    busy.value = true;
    error.value = '';
    exportError.value = '';
    const [answer] = await Promise.allSettled([readAudit(filter, after, pageRows, 'newest', token())]);
    if (mine !== round) return false;
    busy.value = false;
    if (answer.status === 'rejected') {
      error.value = problem(answer.reason);
      return false;
    }
    next.value = answer.value.next;
    use(answer.value);
    return true;
  }

  const search = (filter: AuditFilter): Promise<boolean> =>
    read(filter, null, (page) => {
      applied = filter;
      rows.value = page.rows;
      searched.value = true;
    });

  async function more(): Promise<void> {
    if (applied === null || next.value === null) return;
    await read(applied, next.value, (page) => {
      rows.value = [...rows.value, ...page.rows];
    });
  }

  async function readAll(filter: AuditFilter): Promise<readonly AuditRow[] | null> {
    exporting.value = true;
    exportError.value = '';
    try {
      const all: AuditRow[] = [];
      let after: string | null = null;
      do {
        const page: AuditPage = await readAudit(filter, after, exportRows, 'oldest', token());
        all.push(...page.rows);
        after = page.next;
      } while (after !== null);
      return all;
    } catch (reason) {
      exportError.value = problem(reason);
      return null;
    } finally {
      exporting.value = false;
    }
  }

  return { rows, next, searched, error, exportError, busy, exporting, search, more, readAll };
}
