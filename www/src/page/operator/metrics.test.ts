import { describe, expect, it } from 'vitest';
import { parseMetrics } from './metrics';

describe('parseMetrics', () => {
  it('reads names, labels, types and values', () => {
    const text = [
      '# HELP waystation_connections Open sockets.',
      '# TYPE waystation_connections gauge',
      'waystation_connections{route="chat"} 3',
      'waystation_connections{route="push"} 4',
      '# HELP waystation_messages_total Messages taken.',
      '# TYPE waystation_messages_total counter',
      'waystation_messages_total 1.5e3 1700000000000',
      '',
    ].join('\n');
    expect(parseMetrics(text)).toEqual([
      { name: 'waystation_connections{route="chat"}', help: 'Open sockets.', counter: false, value: 3 },
      { name: 'waystation_connections{route="push"}', help: 'Open sockets.', counter: false, value: 4 },
      { name: 'waystation_messages_total', help: 'Messages taken.', counter: true, value: 1500 },
    ]);
  });

  it('omits histogram parts, and values that are not numbers', () => {
    const text = ['# TYPE h histogram', 'h_bucket{le="1"} 1', 'h_sum 1', 'h_count 1', '# TYPE g gauge', 'g NaN', 'junk'].join('\n');
    expect(parseMetrics(text)).toEqual([]);
  });
});
