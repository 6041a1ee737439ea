import test from 'ava';
import { verdict, type Row } from './rows.js';
import { median, pairedRatio, quantile } from '../../src/bench/statistics.js';

test('median of an even number of values lies between the two middle ones', (t) => {
  t.is(median([4, 1, 3, 2]), 2.5);
  t.is(median([9, 1, 5]), 5);
  t.throws(() => median([]), { instanceOf: RangeError });
});

test('a quantile is a value that was seen, by nearest rank', (t) => {
  const values = Array.from({ length: 200 }, (_, index) => 200 - index);
  t.deepEqual(
    [0, 0.005, 0.5, 0.99, 1].map((share) => quantile(values, share)),
    [1, 1, 100, 198, 200],
  );
  t.is(quantile([5], 0.5), 5);
  t.throws(() => quantile([], 0.5), { instanceOf: RangeError });
});

test('a disturbance that hits both sides of a pair does not move the ratio', (t) => {
  const { ratio, low, high } = pairedRatio([110, 55, 11, 220, 110], [100, 50, 10, 200, 100]);
  for (const value of [ratio, low, high]) t.true(Math.abs(value - 1.1) < 1e-9);
});

test('the interval holds the ratio, stays within what was seen and is the same each time', (t) => {
  const above = [90, 120, 101, 99, 130, 95, 108];
  const below = above.map(() => 100);
  const first = pairedRatio(above, below);
  t.true(first.low >= 0.9 && first.low <= first.ratio && first.ratio <= first.high && first.high <= 1.3);
  t.true(first.low < first.high);
  t.deepEqual(pairedRatio(above, below), first);
});

test('samples without a partner are refused', (t) => {
  t.throws(() => pairedRatio([1, 2], [1]), { instanceOf: RangeError });
});

const row: Row = {
  name: '',
  unit: '',
  ours: 1,
  against: '',
  peer: 1,
  ratio: 1,
  target: undefined,
  bound: 'at-least',
  low: 0.9,
  high: 1.1,
};

test('a ratio beyond its target is missed only where the interval rules the target out', (t) => {
  t.is(verdict(row), '');
  t.is(verdict({ ...row, target: 1 }), 'met');
  t.is(verdict({ ...row, target: 1.05 }), 'within noise');
  t.is(verdict({ ...row, target: 1.2 }), 'missed');
  t.is(verdict({ ...row, bound: 'at-most', target: 1.6 }), 'met');
  t.is(verdict({ ...row, bound: 'at-most', target: 0.95 }), 'within noise');
  t.is(verdict({ ...row, bound: 'at-most', target: 0.8 }), 'missed');
});
