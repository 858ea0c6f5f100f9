import { describe, expect, it, vi } from 'vitest';
import { shallowRef } from 'vue';
import { auditPath, auditRow, toCsv, type AuditRow } from './audit';

// The preferences need a browser.
vi.mock('../preferences', () => ({ locale: shallowRef('en') }));

describe('auditPath', () => {
  it('contains only the filters that are set', () => {
    const none = { since: null, until: null, user: '', from: '', to: '', outcome: '' };
    expect(auditPath(none, null, 100, 'newest')).toBe('api/v1/audit?limit=100&order=newest');
    expect(auditPath({ since: 1, until: 2, user: 'carol', from: 'alice', to: 'bob', outcome: 'push' }, '17', 5, 'oldest')).toBe(
      'api/v1/audit?limit=5&order=oldest&since=1&until=2&user=carol&from=alice&to=bob&outcome=push&after=17',
    );
  });
});

describe('toCsv', () => {
  const row: AuditRow = {
    id: 1, at: 0, node: 'n1', group: 'alice_bob', from: 'alice', to: 'bob', outcome: 'push', reached: 2, bytes: 5, message_id: 'm1', lost: '', lost_until: '',
  };

  it('has a header and one line per row', () => {
    expect(toCsv([row])).toBe('id,at,node,group,from,to,outcome,reached,bytes,message_id,lost,lost_until\r\n1,1970-01-01T00:00:00.000Z,n1,alice_bob,alice,bob,push,2,5,m1,,\r\n');
  });

  it('reports the size and the end of a gap', () => {
    // The server's answer.
    const gap = { id: 2, at: 0, node: 'n1', group: null, from: null, to: null, outcome: 'gap', reached: null, bytes: null, message_id: null, lost: 7, lost_until: 1000 };
    expect(toCsv([auditRow(gap)])).toContain('n1,,,,gap,,,,7,1970-01-01T00:00:01.000Z\r\n');
    expect(toCsv([auditRow({ ...gap, lost: null })])).toContain('n1,,,,gap,,,,,1970-01-01T00:00:01.000Z\r\n');
    expect(toCsv([auditRow({ ...gap, outcome: 'undelivered' })])).toContain(',undelivered,0,0,,');
  });

  it('quotes special characters, and escapes spreadsheet formulas', () => {
    expect(toCsv([{ ...row, node: 'a,"b"' }])).toContain('"a,""b"""');
    expect(toCsv([{ ...row, message_id: '-1' }])).toContain(",'-1,,\r\n");
  });
});
