import { appendFileSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { FAULTS } from './chain/faults.js';
import { planned } from './chain/plan.js';
import { appendRecord, readRecords, type DrillRecord } from './chain/record.js';
import { summarize, summarizeTraffic, tableText, trafficTableText } from './chain/table.js';

function record(index: number, fault: string, waitMs: number | undefined): DrillRecord {
  const figures = {
    from: 'A',
    to: 'B',
    waitMs: waitMs ?? 0,
    messages: 1,
    operations: 1,
    transactions: 1,
    frames: 1,
    changes: 1,
    traffic: [{ traffic: 'pings', sent: 10, lost: 2, late: 1, doubled: 0, waitMs: 2 * (waitMs ?? 0) }],
  } as const;
  return {
    ...{ commit: 'c0ffee', seed: 7, index, fault, policy: 'kemari', seconds: 1, at: '2026-01-01T00:00:00Z' },
    ...(waitMs === undefined ? { survived: false, failure: 'lost' } : { survived: true, figures }),
  };
}

test('a seed and a number give a drill again, and every fault comes once before one comes twice', (t) => {
  const names = (seed: number): string[] => FAULTS.map((_, index) => planned(seed, index).fault.name);
  t.deepEqual(planned(5, 23), planned(5, 23));
  t.deepEqual(names(5).sort(), FAULTS.map(({ name }) => name).sort());
  t.notDeepEqual(names(5), names(6));
  t.is(new Set(FAULTS.map(({ name }) => name)).size, FAULTS.length);
});

test('the ledger gives back what was written, and passes over half a line', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'kemari-ledger-'));
  const file = join(folder, 'new', 'ledger.jsonl');
  t.deepEqual(readRecords(file), []);
  const records = [record(0, 'host killed', 900), record(1, 'host killed', undefined)];
  for (const one of records) appendRecord(file, one);
  appendFileSync(file, '{"commit":"c0f');
  t.deepEqual(readRecords(file), records);
  rmSync(folder, { recursive: true });
});

test('the table counts what was tried and survived, and waits of what was survived alone', (t) => {
  const waits = Array.from({ length: 100 }, (_, index) => record(index, 'host killed', index + 1));
  const rows = summarize([...waits, record(100, 'link cut', undefined)]);
  t.deepEqual(rows, [
    { fault: 'host killed', tried: 100, survived: 100, waitMs: { p50: 50, p99: 99, max: 100 } },
    { fault: 'link cut', tried: 1, survived: 0, waitMs: { p50: 0, p99: 0, max: 0 } },
    { fault: 'all', tried: 101, survived: 100, waitMs: { p50: 50, p99: 99, max: 100 } },
  ]);
  t.regex(tableText(rows), /^all +101 +100 +50 +99 +100$/m);
});

test('the table of traffic adds up what was lost, late and doubled, and has the longest waits', (t) => {
  const rows = summarizeTraffic([
    record(0, 'host killed', 100),
    record(1, 'host killed', 300),
    record(2, 'cut', undefined),
  ]);
  const waitMs = { p50: 200, p99: 600, max: 600 };
  t.deepEqual(rows, [{ traffic: 'pings', sent: 20, lost: 4, late: 2, doubled: 0, waitMs }]);
  t.regex(trafficTableText(rows), /^pings +20 +4 +2 +0 +200 +600 +600$/m);
});
