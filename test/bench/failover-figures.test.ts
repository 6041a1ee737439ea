import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { failoverTable, summarizeFailovers } from '../../src/bench/failover-figures.js';
import { Ledger, type FailoverSample } from '../../src/bench/ledger.js';

const seen = (way: string, repeat: number, gapMs: number): FailoverSample => ({
  ...{ type: 'failover', way, repeat, gapMs, firstFrameMs: gapMs - 100 },
});

test('a distribution is its median, its 90th percentile and its longest, of what did not fail', (t) => {
  const gaps = [300, 310, 305, 900, 320, 330, 340, 350, 360, 370];
  const samples = gaps.map((gapMs, repeat) => seen('auto-500', repeat, gapMs));
  const rows = summarizeFailovers([...samples, { type: 'failover', way: 'sighup', repeat: 0, failure: 'no answer' }]);
  t.deepEqual(rows, [
    { way: 'sighup', samples: 0, failures: 1, gap: undefined, firstFrame: undefined },
    {
      ...{ way: 'auto-500', samples: 10, failures: 0 },
      gap: { p50: 330, p90: 370, max: 900 },
      firstFrame: { p50: 230, p90: 270, max: 800 },
    },
  ]);
  const { lines } = failoverTable(rows);
  t.deepEqual(lines[1]!.slice(1, 3), ['0, 1 failed', '']);
  t.deepEqual(lines[2]!.slice(1, 5), ['10', '330', '370', '900']);
  t.true(lines.every((cells) => cells.length === lines[0]!.length));
});

test('failovers are resumed from the ledger; one that failed is tried again', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'kemari-bench-failovers-'));
  t.teardown(() => {
    rmSync(folder, { recursive: true, force: true });
  });
  const path = join(folder, 'samples.jsonl');
  const ledger = Ledger.open(path, { cpu: 'one' });
  ledger.add(seen('sighup', 0, 250));
  ledger.add({ type: 'failover', way: 'sighup', repeat: 1, failure: 'no answer' });
  const again = Ledger.open(path, { cpu: 'one' });
  t.true(again.hasFailover('sighup', 0));
  t.false(again.hasFailover('sighup', 1));
  t.false(again.hasFailover('auto-500', 0));
  again.add(seen('sighup', 1, 260));
  t.deepEqual(
    Ledger.read(path).failovers.map(({ gapMs }) => gapMs),
    [250, 260],
  );
  t.deepEqual(again.samples, []);
});
