import { execFileSync } from 'node:child_process';
import { closeSync, existsSync, mkdtempSync, openSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { waitUntil } from '../../src/base/deadline.js';
import { stageNames } from '../../src/stage/names.js';
import { rehearse } from '../../src/stage/rehearsal.js';
import { Report } from '../../src/stage/report.js';

const staged = process.getuid?.() === 0 ? test.serial : test.serial.skip;
const missing = process.getuid?.() === 0 ? '' : ' [needs root]';
const TIMEOUT_MS = 30_000;

staged(`a rehearsal that is interrupted while it copies its disk leaves nothing, and says so${missing}`, async (t) => {
  const folder = mkdtempSync('/tmp/kemari-rehearsal-');
  // An image that does not come to its end.
  const image = join(folder, 'endless');
  execFileSync('mkfifo', [image]);
  const writer = openSync(image, 'r+');
  t.teardown(() => {
    closeSync(writer);
    rmSync(folder, { recursive: true });
  });
  const names = stageNames(`rehearsal-${process.pid}`);
  const interrupt = new AbortController();
  const report = new Report(() => undefined);
  const rehearsal = rehearse(
    { image: { kernel: '', ramdisk: '', rootDisk: image }, takeoverTimeoutMs: 500, killAfterMs: 0, migrateOptions: [] },
    report,
    interrupt.signal,
  );
  const refused = t.throwsAsync(rehearsal, { code: 'KEMARI_INTERRUPTED' });
  t.true(await waitUntil(() => existsSync(join(names.disks, 'root.img')), { timeoutMs: TIMEOUT_MS }));
  interrupt.abort();
  await refused;
  t.false(existsSync(names.disks));
  t.false(existsSync(names.directory));
  t.deepEqual(report.claims, []);
});
