import test from 'ava';
import { KemariError } from '../../src/base/errors.js';
import { choose } from '../../src/bench/catalogue.js';
import { countCells, planTurns, type Matrix } from '../../src/bench/plan.js';

const matrix: Matrix = { links: ['free', 'slow'], protections: ['a', 'b', 'c'], workloads: ['x', 'y'], repeats: 2 };

test('every cell is planned once, and protections take turns at being first', (t) => {
  const turns = planTurns(matrix, () => false);
  const cells = turns.flatMap(({ workloads, ...turn }) =>
    workloads.map((workload) => JSON.stringify({ ...turn, workload })),
  );
  t.is(cells.length, 2 * 3 * 2 * 2);
  t.is(new Set(cells).size, cells.length);
  t.is(countCells(turns), cells.length);
  const order = turns.filter(({ link }) => link === 'free').map(({ protection }) => protection);
  t.deepEqual(order, ['a', 'b', 'c', 'b', 'c', 'a']);
  t.deepEqual([...new Set(turns.map(({ link }) => link))], ['free', 'slow']);
});

test('what is measured already is not planned again, and a turn without work not at all', (t) => {
  const turns = planTurns(matrix, ({ protection, workload }) => protection === 'a' || workload === 'x');
  t.true(turns.every(({ protection, workloads }) => protection !== 'a' && workloads.join() === 'y'));
  t.is(countCells(turns), 2 * 2 * 2);
  t.deepEqual(
    planTurns(matrix, () => true),
    [],
  );
});

test('a subset is chosen by name, by the beginning of a name, and in its own order', (t) => {
  const known = ['tcp-in', 'tcp-out', 'udp'];
  t.deepEqual(choose('workload', known, ['udp', 'tcp*']), known);
  t.deepEqual(choose('workload', known, ['tcp-out']), ['tcp-out']);
  t.deepEqual(choose('workload', known, []), known);
  t.deepEqual(choose('workload', known, undefined), known);
});

test('a name that stands for nothing is refused with the nearest one', (t) => {
  for (const wrong of ['tcp-uot', 'nix*', '']) {
    const error = t.throws(() => choose('workload', ['tcp-out'], [wrong]), { instanceOf: KemariError });
    t.is(error.code, 'KEMARI_USAGE');
  }
  t.throws(() => choose('workload', ['tcp-out'], ['tcp-uot']), { message: /did you mean tcp-out\?/ });
});
