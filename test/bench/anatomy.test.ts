import test from 'ava';
import { anatomyCharts } from '../../src/bench/anatomy-charts.js';
import { anatomyTables, summarizeAnatomy } from '../../src/bench/anatomy-figures.js';
import { alongAxis, anatomyGuests, type AnatomyPoint } from '../../src/bench/anatomy-points.js';
import { drawSvg } from '../../src/bench/draw.js';
import type { AnatomySample } from '../../src/bench/ledger.js';

/** Epochs of a guest whose copy takes 0.5 us a page, and whose scan 300 us for each GiB. */
function sampleAt(point: Partial<AnatomyPoint>, more: Partial<AnatomySample> = {}): AnatomySample {
  const { memoryMib = 512, vcpus = 1, pages = 0 } = point;
  const copy = 100 + pages / 2;
  const scan = (300 * memoryMib) / 1024;
  return {
    ...{ type: 'anatomy', repeat: 0, memoryMib, vcpus, pages },
    ...{ epochs: 20, dirtyPages: pages + 60, pauseP50Us: 500 + copy + scan, pauseP99Us: 9000 },
    ...{ parts: { stop: 500, scan, copy, ack: 700 }, trace: `trace-${memoryMib}-${vcpus}-${pages}.json` },
    ...more,
  };
}

const failed = (point: AnatomyPoint, failure: string): AnatomySample => ({
  type: 'anatomy',
  repeat: 0,
  ...point,
  failure,
});

const SWEEP = [
  ...[0, 1000, 5000, 50_000].map((pages) => sampleAt({ pages })),
  ...[1024, 4096].map((memoryMib) => sampleAt({ memoryMib })),
  sampleAt({ vcpus: 4 }),
  failed({ memoryMib: 16_384, vcpus: 1, pages: 0 }, 'no room'),
];

test('a sweep departs from one guest along each axis, and goes no further than it is told', (t) => {
  const all = anatomyGuests({ memoryMib: 16_384, vcpus: 4, pages: undefined });
  t.deepEqual(all[0]!.pages.at(-1), 50_000);
  t.deepEqual(
    all.map(({ memoryMib, vcpus }) => [memoryMib, vcpus]),
    [
      [512, 1],
      [1024, 1],
      [2048, 1],
      [4096, 1],
      [8192, 1],
      [16_384, 1],
      [512, 2],
      [512, 4],
    ],
  );
  const few = anatomyGuests({ memoryMib: 1024, vcpus: 2, pages: [0, 7] });
  t.deepEqual(few, [
    { memoryMib: 512, vcpus: 1, pages: [0, 7] },
    { memoryMib: 1024, vcpus: 1, pages: [0] },
    { memoryMib: 512, vcpus: 2, pages: [0] },
  ]);
});

test('points along an axis differ in nothing else', (t) => {
  const { rows } = summarizeAnatomy(SWEEP);
  t.deepEqual(
    alongAxis('memoryMib', rows).map(({ memoryMib }) => memoryMib),
    [512, 1024, 4096],
  );
  t.deepEqual(
    alongAxis('vcpus', rows).map(({ vcpus }) => vcpus),
    [1, 4],
  );
  t.deepEqual(
    alongAxis('pages', rows).map(({ pages }) => pages),
    [0, 1000, 5000, 50_000],
  );
});

test('what grows along an axis, and by how much, is found, whatever one disturbed point says', (t) => {
  const disturbed = sampleAt({ pages: 5000 }, { parts: { stop: 500, scan: 150, copy: 90_000, ack: 700 } });
  const { growth } = summarizeAnatomy([
    ...SWEEP.filter(({ pages }) => pages !== 5000),
    disturbed,
    sampleAt({ pages: 10_000 }),
  ]);
  const of = (axis: string) => growth.find((one) => one.axis === axis)!;
  t.is(of('pages').parts.copy, 500);
  t.is(of('pages').parts.scan, 0);
  t.is(of('memoryMib').parts.scan, 300);
  t.is(of('memoryMib').parts.copy, 0);
  t.is(of('memoryMib').pause, 300);
  t.is(of('vcpus').pause, 0);
});

test('repeats are one row of medians, and what failed once is no gap', (t) => {
  const times = [100, 900, 200].map((stop, repeat) => sampleAt({}, { repeat, parts: { stop } }));
  const { rows, gaps } = summarizeAnatomy([
    ...times,
    { ...failed({ memoryMib: 512, vcpus: 1, pages: 0 }, 'x'), repeat: 3 },
  ]);
  t.is(rows.length, 1);
  t.is(rows[0]!.epochs, 60);
  t.deepEqual(rows[0]!.parts, { stop: 200 });
  t.deepEqual(gaps, []);
});

test('the tables have every point, what did not fit and why, and the growth', (t) => {
  const [points, growth] = anatomyTables(summarizeAnatomy(SWEEP));
  t.is(points!.lines.length, 1 + 8);
  t.deepEqual(points!.lines.at(-1), ['16384', '1', '0', 'not measured: no room']);
  const copy = growth!.lines[0]!.indexOf('copy');
  t.is(growth!.lines.find(([what]) => what === 'each 1000 pages')![copy], '500');
  t.deepEqual(anatomyTables(summarizeAnatomy([])), []);
});

test('each axis that has more than one point is a stacked chart', async (t) => {
  const charts = anatomyCharts(summarizeAnatomy(SWEEP).rows);
  t.deepEqual(
    charts.map(({ name }) => name),
    ['anatomy-by-guest-memory', 'anatomy-by-vcpus', 'anatomy-by-dirty-pages'],
  );
  const svg = await drawSvg(charts[2]!);
  t.true(svg.includes('50060 pages') && svg.includes('receive, check, ack') && !svg.includes('resume</text>'));
  t.deepEqual(anatomyCharts(summarizeAnatomy([sampleAt({})]).rows), []);
});
