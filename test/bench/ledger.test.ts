import { appendFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { KemariError } from '../../src/base/errors.js';
import { Ledger, type Sample } from '../../src/bench/ledger.js';

const settings = { cpu: 'one', seconds: 2 };
const sample: Sample = {
  ...{ type: 'sample', link: 'free', protection: 'kemari', workload: 'tcp-rr', repeat: 0 },
  ...{ value: 12.5, seconds: 2 },
};

const folder = mkdtempSync(join(tmpdir(), 'kemari-bench-ledger-'));
test.after.always(() => {
  rmSync(folder, { recursive: true, force: true });
});

test('a run goes on from its ledger', (t) => {
  const path = join(folder, 'resumed');
  const first = Ledger.open(path, settings);
  t.false(first.has(sample));
  first.add(sample);
  const second = Ledger.open(path, settings);
  t.true(second.has(sample));
  t.false(second.has({ ...sample, repeat: 1 }));
  t.deepEqual(second.samples, [sample]);
});

test('what failed is measured again, and the later result counts', (t) => {
  const path = join(folder, 'failed');
  const ledger = Ledger.open(path, settings);
  ledger.add({ ...sample, value: undefined, failure: 'no answer' });
  t.false(Ledger.read(path).has(sample));
  ledger.add(sample);
  t.deepEqual(Ledger.read(path).samples, [sample]);
});

test('a last line that was cut short is dropped, and the next one is whole', (t) => {
  const path = join(folder, 'torn');
  Ledger.open(path, settings).add(sample);
  appendFileSync(path, '{"type":"sample","lin');
  const ledger = Ledger.open(path, settings);
  t.deepEqual(ledger.samples, [sample]);
  ledger.add({ ...sample, repeat: 1 });
  t.is(Ledger.read(path).samples.length, 2);
  t.false(readFileSync(path, 'utf8').includes('"lin"'));
});

test('samples of another machine or length are not mixed in', (t) => {
  const path = join(folder, 'other');
  Ledger.open(path, settings);
  for (const other of [{ ...settings, cpu: 'two' }, { cpu: 'one' }, { ...settings, more: 1 }]) {
    const error = t.throws(() => Ledger.open(path, other), { instanceOf: KemariError });
    t.is(error.code, 'KEMARI_BENCH_RESUME');
  }
});

test('a file that is no ledger is refused and left alone', (t) => {
  for (const [name, text] of [
    ['text', 'hello\n'],
    ['json', '{"a":1}\n'],
    ['empty', ''],
  ] as const) {
    const path = join(folder, name);
    writeFileSync(path, text);
    t.is(t.throws(() => Ledger.open(path, settings), { instanceOf: KemariError }).code, 'KEMARI_BENCH_RESUME');
    t.is(readFileSync(path, 'utf8'), text);
  }
});

test('a guest that was taken apart is not again, one that did not fit is', (t) => {
  const path = join(folder, 'anatomy');
  const point = { memoryMib: 512, vcpus: 1, pages: 0 };
  const first = Ledger.open(path, settings);
  first.add({ type: 'anatomy', repeat: 0, ...point, epochs: 9 });
  first.add({ type: 'anatomy', repeat: 0, ...point, memoryMib: 8192, failure: 'no room' });
  const second = Ledger.open(path, settings);
  t.true(second.hasAnatomy(point, 0));
  t.false(second.hasAnatomy(point, 1));
  t.false(second.hasAnatomy({ ...point, memoryMib: 8192 }, 0));
  t.is(second.anatomy.length, 2);
});

test('a ledger that is to be read must be there', (t) => {
  t.throws(() => Ledger.read(join(folder, 'nowhere')), {
    code: 'KEMARI_BENCH_RESUME',
    message: /nowhere is not there/,
  });
});
