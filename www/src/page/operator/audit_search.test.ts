import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { shallowRef } from 'vue';
import type { AuditFilter } from './audit';
import { useAuditSearch, type AuditSearch } from './audit_search';

// The preferences need a browser.
vi.mock('../preferences', () => ({ locale: shallowRef('en') }));

const all: AuditFilter = { since: null, until: null, user: '', from: '', to: '', outcome: '' };
const lost: AuditFilter = { ...all, outcome: 'undelivered' };

let audit: AuditSearch;
/** The requests, in order, and how to answer them. */
let requests: { readonly url: string; readonly answer: (response: Response) => void }[];

const page = (ids: readonly number[], next: string | null): Response => new Response(JSON.stringify({ rows: ids.map((id) => ({ id })), next }));
const refusal = (): Response => new Response('{"error":{"code":"timeout","detail":"too slow"}}', { status: 503 });
const shown = (): unknown => [audit.rows.value.map((row) => row.id), audit.next.value, audit.error.value, audit.busy.value];

beforeEach(() => {
  requests = [];
  vi.stubGlobal('fetch', (url: string) => new Promise<Response>((answer) => requests.push({ url, answer })));
  audit = useAuditSearch(() => '');
});

afterEach(() => vi.unstubAllGlobals());

/** Answers the request of this number, and waits for its effect. */
async function answer(number: number, response: Response, effect: Promise<unknown>): Promise<void> {
  requests[number]?.answer(response);
  await effect;
}

describe('useAuditSearch', () => {
  it('shows the rows of the newest search, although the answer to an older one comes last', async () => {
    const older = audit.search(all);
    const newer = audit.search(lost);
    await answer(1, page([1], '999.1'), newer);
    await answer(0, page([2, 3], '500.3'), older);
    expect(shown()).toEqual([[1], '999.1', '', false]);
    expect([await older, await newer]).toEqual([false, true]);
    void audit.more();
    expect(requests[2]?.url).toContain('outcome=undelivered&after=999.1');
  });

  it('is busy until the newest search is answered', async () => {
    const older = audit.search(all);
    const newer = audit.search(lost);
    await answer(0, page([2, 3], '500.3'), older);
    expect([shown(), audit.searched.value]).toEqual([[[], null, '', true], false]);
    await answer(1, page([1], null), newer);
    expect([shown(), audit.searched.value]).toEqual([[[1], null, '', false], true]);
  });

  it('ignores the error of an older search', async () => {
    const older = audit.search(all);
    const newer = audit.search(lost);
    await answer(1, page([1], null), newer);
    await answer(0, refusal(), older);
    expect(shown()).toEqual([[1], null, '', false]);
  });

  it('adds the next rows, but not to those of a newer search', async () => {
    await Promise.all([audit.search(all), requests[0]?.answer(page([9, 8], '2.8'))]);
    await Promise.all([audit.more(), requests[1]?.answer(page([7], '1.7'))]);
    expect(shown()).toEqual([[9, 8, 7], '1.7', '', false]);
    const more = audit.more();
    const newer = audit.search(lost);
    await answer(3, page([8], null), newer);
    await answer(2, page([6], null), more);
    expect(shown()).toEqual([[8], null, '', false]);
  });

  it('keeps the filter of the rows that are shown when a search fails', async () => {
    await Promise.all([audit.search(all), requests[0]?.answer(page([9], '1.9'))]);
    await Promise.all([audit.search(lost), requests[1]?.answer(refusal())]);
    expect(shown()).toEqual([[9], '1.9', 'The server answered 503: too slow', false]);
    void audit.more();
    expect(requests[2]?.url).not.toContain('outcome');
  });

  it('reads all rows for a file while a search replaces those that are shown', async () => {
    const file = audit.readAll(all);
    const search = audit.search(lost);
    await answer(1, page([1], null), search);
    expect([shown(), audit.exporting.value]).toEqual([[[1], null, '', false], true]);
    requests[0]?.answer(page([4, 5], '5.5'));
    await vi.waitUntil(() => requests.length === 3);
    expect(requests[2]?.url).toContain('order=oldest&after=5.5');
    await answer(2, page([6], null), file);
    expect((await file)?.map((row) => row.id)).toEqual([4, 5, 6]);
    expect([shown(), audit.exporting.value]).toEqual([[[1], null, '', false], false]);
  });

  it('has no rows for a file if a part of them fails, and still shows others', async () => {
    const file = audit.readAll(all);
    requests[0]?.answer(page([4, 5], '5.5'));
    await vi.waitUntil(() => requests.length === 2);
    await Promise.all([audit.search(lost), requests[2]?.answer(page([1], null))]);
    await answer(1, refusal(), file);
    expect(shown()).toEqual([[1], null, '', false]);
    expect([await file, audit.exportError.value, audit.exporting.value]).toEqual([null, 'The server answered 503: too slow', false]);
  });
});
