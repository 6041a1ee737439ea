import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import test from 'ava';
import { Ledger, type Sample } from '../../src/bench/ledger.js';
import { writeReport } from '../../src/bench/report.js';
import { summarize } from '../../src/bench/summary.js';

const epochs = {
  ...{ perSecond: 90, dirtyPages: 200, pauseP50Us: 1500, pauseP99Us: 3000, releaseP50Us: 2500, pauseShare: 0.1 },
  ...{ sentBytes: 1000, rawBytes: 4000, sentPages: 2, linkCpuMs: 0.06 },
  parts: { trigger: 50, stop: 300, scan: 200, copy: 300, state: 400, resume: 350, ack: 900 },
};
const of = (protection: string, repeat: number, value: number | undefined): Sample => ({
  ...{ type: 'sample', link: 'free', protection, workload: 'tcp-out', repeat, value, seconds: 2 },
  ...(protection === 'kemari' ? { epochs } : {}),
});
const samples = [
  of('none', 0, 100),
  of('kemari', 0, 40),
  of('none', 1, 200),
  of('kemari', 1, 100),
  of('proxy', 0, undefined),
];

test('a protection is held against the baseline of the same repeat', (t) => {
  const [row] = summarize(samples, 'none');
  const entry = (name: string) => row!.entries.find(({ protection }) => protection === name)!;
  t.is(entry('kemari').value, 70);
  t.true(Math.abs(entry('kemari').ratio!.ratio - 0.45) < 1e-9);
  t.deepEqual(entry('kemari').wire, { bytesPerPage: 500, cpuNsPerByte: 15 });
  t.is(entry('none').wire, undefined);
  t.is(entry('kemari').epochs!.pauseP50Us, 1500);
  t.is(entry('none').ratio!.ratio, 1);
  t.is(entry('none').epochs, undefined);
  t.like(entry('proxy'), { value: undefined, failures: 1, ratio: undefined });
});

test('the report stands alone, its charts are drawn, and what failed is said', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'kemari-bench-report-'));
  try {
    const ledger = Ledger.open(join(folder, 'samples.jsonl'), { cpu: '<one>', seconds: 2 });
    for (const sample of samples) ledger.add(sample);
    const { files, table } = await writeReport(ledger, folder);
    t.regex(table, /\| netperf, TCP stream out of the guest \| Mbit\/s \| 150 \(1\.00\) \| failed \| 70 \(0\.45\) \|/);
    const html = readFileSync(join(folder, 'report.html'), 'utf8');
    t.regex(table, /share of 4096[^|]*\|[^|]*\|[^|]*\| kemari \|\n.*\n.*\| 500 \(0\.12\); 15 \|/);
    t.is(html.match(/<svg/g)?.length, 5);
    t.true(html.includes('&#60;one&#62;') && html.includes('Measurements that failed: 1'));
    t.notRegex(html, /<script|<link|(?:src|href)="http/);
    const png = files.filter((file) => file.endsWith('.png'));
    t.is(png.length, 5);
    for (const file of png) t.is(readFileSync(file).subarray(1, 4).toString(), 'PNG');
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test('without the unprotected guest nothing is held against it, and what the link costs is told all the same', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'kemari-bench-report-'));
  try {
    const ledger = Ledger.open(join(folder, 'samples.jsonl'), { seconds: 2 });
    ledger.add(of('kemari', 0, 40));
    const { files } = await writeReport(ledger, folder);
    const svg = files.map((file) => basename(file)).filter((file) => file.endsWith('.svg'));
    t.deepEqual(svg, ['pause-free.svg', 'anatomy-free.svg', 'wire-bytes-free.svg', 'wire-cpu-free.svg']);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test('an older run is shown beside this one, where both measured the same, and what differed is said', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'kemari-bench-report-'));
  try {
    const before = Ledger.open(join(folder, 'before.jsonl'), { cpu: 'one', seconds: 2 });
    const after = Ledger.open(join(folder, 'after.jsonl'), { cpu: 'one', seconds: 5 });
    before.add({ ...of('kemari', 0, 40), epochs: { ...epochs, pauseP50Us: 3000 } });
    before.add({ ...of('kemari', 0, 7), workload: 'idle' });
    after.add(of('kemari', 0, 100));
    after.add(of('none', 0, 100));
    const { table } = await writeReport(after, folder, before);
    t.regex(
      table,
      /### Before and after, link free, rates\n\n\| workload \| unit \| kemari \|\n.*\n.*\| 40 → 100 \(2\.50\) \|/,
    );
    t.regex(table, /### Before and after, link free, pauses, medians\n\n.*\n.*\n.*\| ms \| 3 → 1\.5 \(0\.50\) \|/);
    const html = readFileSync(join(folder, 'report.html'), 'utf8');
    t.true(html.includes('Before: seconds: 2, now 5; not measured side by side'), html.slice(0, 900));
    t.notRegex((await writeReport(after, folder)).table, /Before and after/);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
