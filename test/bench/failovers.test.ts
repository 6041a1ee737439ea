import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { FAILOVER_WAYS } from '../../src/bench/failovers.js';
import type { FailoverRow } from '../../src/bench/failover-figures.js';
import { Ledger } from '../../src/bench/ledger.js';
import { longGuestTest, missing } from '../fixtures/guest-test.js';

const KEMARI = join(import.meta.dirname, '../../src/cli/kemari.js');

longGuestTest(`bench --failover kills hosts each way, and tells what a client waited${missing}`, async (t) => {
  t.timeout(600_000);
  const out = mkdtempSync(join(tmpdir(), 'kemari-bench-'));
  t.teardown(() => {
    rmSync(out, { recursive: true, force: true });
  });
  const command = [KEMARI, 'bench', '--failover', '--repeats', '1', '--memory', '256', '--json', '--out', out];
  const { stdout, stderr } = await execa(process.execPath, command);
  const { failovers, rows } = JSON.parse(stdout) as { failovers: readonly FailoverRow[]; rows: readonly unknown[] };
  t.deepEqual(
    failovers.map(({ way, samples, failures }) => ({ way, samples, failures })),
    Object.keys(FAILOVER_WAYS).map((way) => ({ way, samples: 1, failures: 0 })),
    stderr,
  );
  t.deepEqual(rows, []);
  for (const { way, gapMs = 0, firstFrameMs = 0 } of Ledger.read(join(out, 'samples.jsonl')).failovers) {
    t.true(gapMs > 0 && firstFrameMs > 0, way);
    const silenceMs = /^auto-(\d+)$/.exec(way)?.[1];
    // It does not act before, but for what the last word before the kill is old.
    if (silenceMs !== undefined) t.true(firstFrameMs > 0.5 * Number(silenceMs), `${way}: ${firstFrameMs} ms`);
  }
});
