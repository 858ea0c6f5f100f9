import { describe, expect, it } from 'vitest';
import { readSignal } from './signals';

describe('readSignal', () => {
  it('reads typing and seen', () => {
    expect(readSignal({ typing: true })).toEqual({ typing: true });
    expect(readSignal({ seen: 'm1', more: 1 })).toEqual({ seen: 'm1' });
  });

  it('ignores signals of other programs', () => {
    for (const other of [null, 1, 'typing', [], {}, { typing: 'yes' }, { seen: 7 }]) expect(readSignal(other)).toBe(null);
  });
});
