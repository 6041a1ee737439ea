import test from 'ava';
import { drawSvg } from '../../src/bench/draw.js';
import { flameChart } from '../../src/bench/flame-chart.js';
import { flameTree, foldStacks, formatFolded, parseFolded } from '../../src/bench/folded-stacks.js';

/** As perf 6.1 prints it. */
const SCRIPT = `CPU 0/TCG
\tffffffff816bac2b vfs_read+0xbb ([kernel.kallsyms])
\t           f82ad read+0xd (/usr/lib/x86_64-linux-gnu/libc.so.6)
\t     7f1200001234 [unknown] (/tmp/perf-1.map)
\t     7f1200001200 [unknown] ([unknown])
\t           89001 clone3

CPU 0/TCG
\tffffffff816bac2b vfs_read+0xbb ([kernel.kallsyms])
\t           f82ad read+0xd (/usr/lib/x86_64-linux-gnu/libc.so.6)
\t     7f1200001299 [unknown] ([unknown])
\t           89001 clone3

kemari-dm
\t           11000 kemari::Ring<int; 3>::run()::{lambda()#1}
`;

test('stacks are folded from the thread inwards, without addresses, and what nobody knows is one frame', (t) => {
  t.deepEqual(
    [...foldStacks(SCRIPT)],
    [
      ['CPU 0/TCG;clone3;[unknown];read;vfs_read', 2],
      ['kemari-dm;kemari::Ring<int: 3>::run()::{lambda()#1}', 1],
    ],
  );
  t.is(foldStacks('').size, 0);
});

test('folded stacks are read as they were written', (t) => {
  const stacks = foldStacks(SCRIPT);
  t.deepEqual(parseFolded(formatFolded(stacks)), stacks);
});

test('callers hold what they call, and what is too thin to be seen is theirs', (t) => {
  const stacks = new Map([
    ['main;work;copy', 60],
    ['main;work', 30],
    ['main;rare', 1],
    ['other', 9],
  ]);
  const nodes = flameTree(stacks, 'all', 0.05);
  t.deepEqual(
    nodes.map(({ name, total, own, depth }) => [name, total, own, depth]),
    [
      ['all', 100, 0, 0],
      ['main', 91, 1, 1],
      ['work', 90, 30, 2],
      ['copy', 60, 60, 3],
      ['other', 9, 9, 1],
    ],
  );
  t.is(
    nodes.reduce((sum, { own }) => sum + own, 0),
    100,
  );
  t.deepEqual(flameTree(new Map(), 'all', 0.01), []);
});

test('a flame graph is drawn, each frame as wide as its share, from the bottom up', async (t) => {
  const stacks = new Map([
    ['main;left', 75],
    ['main;right', 25],
  ]);
  const svg = await drawSvg(flameChart('flame', 'Where it is', stacks)!);
  const widths = [...svg.matchAll(/d="M([\d.]+),([\d.]+)h([\d.]+)v/g)].map(([, x, y, width]) =>
    [x, y, width].map(Number),
  );
  t.deepEqual(
    widths.slice(1, 5).map(([x, y, width]) => [x, y, Math.round(width!)]),
    [
      [0, 30, 1100],
      [0, 15, 1100],
      [0, 0, 825],
      [825, 0, 275],
    ],
  );
  t.true(['all', 'main', 'left', 'right', 'Where it is'].every((text) => svg.includes(`>${text}<`)));
  t.is(flameChart('flame', 'Nothing', new Map()), undefined);
});
