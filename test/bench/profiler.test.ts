import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { waitUntil } from '../../src/base/deadline.js';
import { Profiler } from '../../src/bench/profiler.js';

const hasPerf = spawnSync('perf', ['--version']).status === 0;
const isLong = process.env['KEMARI_LONG'] !== undefined;
const profiled = hasPerf && isLong ? test : test.skip;
const missing = hasPerf ? '' : ' [needs linux-perf]';

const folder = mkdtempSync(join(tmpdir(), 'kemari-profiler-'));
test.after.always(() => {
  rmSync(folder, { recursive: true, force: true });
});

/** Of the processor, that a process has had (proc(5)). */
function cpuTicksOf(pid: number): number {
  const [, rest = ''] = readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ');
  const fields = rest.split(' ');
  return Number(fields[11]) + Number(fields[12]);
}

profiled(`perf tells where each process is, and leaves nothing behind${missing}`, async (t) => {
  t.timeout(120_000);
  const busy = spawn('dd', ['if=/dev/zero', 'of=/dev/null', 'bs=1M'], { stdio: 'ignore' });
  const idle = spawn('sleep', ['600'], { stdio: 'ignore' });
  t.teardown(() => busy.kill('SIGKILL') && idle.kill('SIGKILL'));
  const file = join(folder, 'samples');
  const profiler = await Profiler.start(file, { busy: busy.pid!, idle: idle.pid! });
  t.true(await waitUntil(() => cpuTicksOf(busy.pid!) > 50, { timeoutMs: 60_000 }));
  const stacks = await profiler.finish();
  const samples = [...stacks.get('busy')!.values()].reduce((sum, count) => sum + count, 0);
  t.true(samples > 5, `${samples}`);
  t.true([...stacks.get('busy')!.keys()].every((stack) => stack.startsWith('dd')));
  t.is(stacks.get('idle')!.size, 0);
  t.false(existsSync(file));
});

profiled(`a process that is not there cannot be looked at, and the error says so${missing}`, async (t) => {
  const { pid: gone } = spawnSync('true');
  const error = await t.throwsAsync(Profiler.start(join(folder, 'gone'), { gone }), { code: 'KEMARI_BENCH_PROFILE' });
  t.regex(error.message, /linux-perf/);
});
