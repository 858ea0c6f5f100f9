import { expect, test } from 'vitest';
import { handoversOf } from './handovers';
import { parseMetrics } from './metrics';

const metrics = (handed: number) =>
  parseMetrics(
    '# HELP waystation_handovers_total Connections to the door.\n# TYPE waystation_handovers_total counter\n' +
      `waystation_handovers_total{result="handed"} ${handed}\nwaystation_handovers_total{result="refused"} 2\n`,
  );

test('the counters are found by their label', () => {
  expect([...(handoversOf(metrics(7)) ?? [])]).toEqual([
    ['handed', 7],
    ['refused', 2],
  ]);
});

test('without a connection there is nothing to show', () => {
  expect(handoversOf([])).toBeNull();
  expect(handoversOf(parseMetrics('# TYPE waystation_handovers_total counter\nwaystation_handovers_total{result="handed"} 0\n'))).toBeNull();
});
