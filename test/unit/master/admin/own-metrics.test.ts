import t from 'tap';
import { renderExposition } from '../../../../src/master/admin/exposition.js';
import { ownFamilies } from '../../../../src/master/admin/own-metrics.js';
import type { OwnMetric } from '../../../../src/shared/native-stats.js';

const counter: OwnMetric = {
  name: 'shop_orders_total',
  help: 'Orders taken,\nby "kind".',
  kind: 'counter',
  labels: ['kind', 'country'],
  bounds: [],
  series: [],
};
const histogram: OwnMetric = {
  name: 'shop_seconds',
  help: 'Seconds.',
  kind: 'histogram',
  labels: [],
  bounds: [0.5, 1],
  series: [],
};

const rendered = (metrics: readonly OwnMetric[]) => renderExposition(ownFamilies(metrics));

t.test('processes are summed per combination of labels, which are escaped', async (t) => {
  const one = { ...counter, series: [{ values: ['a"\\\n', 'x'], cells: [2] }] };
  const two = {
    ...counter,
    series: [
      { values: ['b', ''], cells: [0.5] },
      { values: ['a"\\\n', 'x'], cells: [3] },
    ],
  };
  t.equal(
    rendered([one, histogram, two]),
    '# HELP shop_orders_total Orders taken,\\nby "kind".\n' +
      '# TYPE shop_orders_total counter\n' +
      'shop_orders_total{kind="a\\"\\\\\\n",country="x"} 5\n' +
      'shop_orders_total{kind="b",country=""} 0.5\n' +
      '# HELP shop_seconds Seconds.\n# TYPE shop_seconds histogram\n',
  );
});

t.test('a histogram is cumulative, with its sum', async (t) => {
  const one = { ...histogram, series: [{ values: [], cells: [1, 2, 3, 10.5] }] };
  t.equal(
    rendered([one, one]),
    '# HELP shop_seconds Seconds.\n# TYPE shop_seconds histogram\n' +
      'shop_seconds_bucket{le="0.5"} 2\nshop_seconds_bucket{le="1"} 6\n' +
      'shop_seconds_bucket{le="+Inf"} 12\nshop_seconds_sum 21\nshop_seconds_count 12\n',
  );
});

t.test('other label values appear once they have counted something', async (t) => {
  const other = (count: number) => ({
    ...counter,
    series: [{ values: ['_other', '_other'], cells: [count] }],
  });
  t.notMatch(rendered([other(0)]), /_other/);
  t.match(rendered([other(0), other(2)]), 'shop_orders_total{kind="_other",country="_other"} 2\n');
});

t.test('a metric with the same name but another shape is left out', async (t) => {
  const gauge: OwnMetric = {
    ...counter,
    kind: 'gauge',
    series: [{ values: ['a', 'b'], cells: [7] }],
  };
  const one = { ...counter, series: [{ values: ['a', 'b'], cells: [1] }] };
  t.match(rendered([one, gauge]), 'shop_orders_total{kind="a",country="b"} 1\n');
  t.notMatch(rendered([one, gauge]), /gauge| 8\n| 7\n/);
});

t.test('infinite values are written in Prometheus format', async (t) => {
  const gauge = (cell: number): OwnMetric => ({
    ...counter,
    kind: 'gauge',
    labels: [],
    series: [{ values: [], cells: [cell] }],
  });
  t.match(rendered([gauge(Number.POSITIVE_INFINITY)]), 'shop_orders_total +Inf\n');
  t.match(rendered([gauge(Number.NEGATIVE_INFINITY)]), 'shop_orders_total -Inf\n');
  t.match(rendered([gauge(Number.NaN)]), 'shop_orders_total NaN\n');
});
