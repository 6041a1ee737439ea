import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { parseFault } from '../../src/base/fault.js';
import { FAULT_POINTS } from '../../src/base/fault-points.js';
import { SERIES } from './trials.js';

const NAMES = Object.keys(FAULT_POINTS);

/** The points that the code of a folder passes, by name, each as often as it is written. */
function passedIn(folder: string, pattern: RegExp): string[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((file) => /\.(?:ts|cc|h)$/.test(file))
    .flatMap((file) => [...readFileSync(join(folder, file), 'utf8').matchAll(pattern)].map((match) => match[1]!));
}

test('every point is passed at one place in the code, and no other is', (t) => {
  const passed = [
    ...passedIn('addon', /\bfault_point\("([^"]*)"\)/g),
    ...passedIn('src', /\bfaultPoint\('([^']*)'\)/g),
  ];
  t.deepEqual(passed.toSorted(), NAMES.toSorted());
  // What the addon asks for without passing it.
  for (const name of passedIn('addon', /\bis_armed\("([^"]*)"\)/g)) t.true(NAMES.includes(name), name);
});

test('every point is documented as the table has it', (t) => {
  const rows = readFileSync('src/base/README.md', 'utf8').matchAll(
    /^\| `([a-z-]+\.[a-z-]+)` +\| (\w+) +\| (.*?) +\|$/gm,
  );
  const table = Object.entries(FAULT_POINTS).map(([name, { by, means }]) => [name, by, means]);
  t.deepEqual(
    [...rows].map(([, name, by, means]) => [name, by, means]),
    table,
  );
});

test('every point has its trial with a real guest, and every trial asks for a fault that there is', (t) => {
  const trials = Object.values(SERIES).flatMap((series) => series.trials);
  t.deepEqual([...new Set(trials.map(({ point }) => point))].toSorted(), NAMES.toSorted());
  for (const { point, how } of trials) t.is(parseFault(`${point}${how}`).point, point);
});

test('no two points look the same to the addon', (t) => {
  const id = (name: string): number => {
    let value = 2166136261;
    for (const letter of Buffer.from(name)) value = Math.imul(value ^ letter, 16777619) >>> 0;
    return value;
  };
  t.is(new Set([...NAMES.map(id), 0]).size, NAMES.length + 1);
});
