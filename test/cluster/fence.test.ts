import test from 'ava';
import { waitUntil } from '../../src/base/deadline.js';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { runFence } from '../../src/cluster/fence.js';

const TARGET = {
  ...{ domainName: 'web', domainUuid: 'uuid-of-web', hostId: 'host-a' },
  addresses: [
    { host: '10.0.0.1', port: 8002 },
    { host: 'fd00::1', port: 8002 },
  ],
};
const TIMEOUT_MS = 20_000;

test('only exit code 0 is a fence, and what it printed is reported', async (t) => {
  const done = await runFence({ command: 'echo power is off', timeoutMs: TIMEOUT_MS }, TARGET);
  t.true(done.ok);
  t.regex(done.text, /exit code 0 after \d+ ms; it printed: power is off/);
  const failed = await runFence({ command: 'echo no such plug >&2; exit 3', timeoutMs: TIMEOUT_MS }, TARGET);
  t.false(failed.ok);
  t.regex(failed.text, /exit code 3 .* no such plug/);
});

test('a fence that is killed, cannot be found or hangs did not fence', async (t) => {
  const outcomes = await Promise.all([
    runFence({ command: 'kill -9 $$', timeoutMs: TIMEOUT_MS }, TARGET),
    runFence({ command: '/nonexistent/fence', timeoutMs: TIMEOUT_MS }, TARGET),
    runFence({ command: 'sleep 1000', timeoutMs: 300 }, TARGET),
  ]);
  t.deepEqual(
    outcomes.map(({ ok }) => ok),
    [false, false, false],
  );
  t.regex(outcomes[0].text, /was ended by SIGKILL/);
  t.regex(outcomes[1].text, /exit code 127/);
  t.regex(outcomes[2].text, /did not end within 300 ms and was killed/);
});

test('a fence that times out is killed with all that it started', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'kemari-test-'));
  t.teardown(() => {
    rmSync(folder, { recursive: true, force: true });
  });
  const pidFile = join(folder, 'pid');
  const { ok } = await runFence({ command: `sleep 1000 & echo $! >${pidFile}; wait`, timeoutMs: 500 }, TARGET);
  t.false(ok);
  const pid = readFileSync(pidFile, 'utf8').trim();
  t.true(await waitUntil(() => !existsSync(`/proc/${pid}`) || isZombie(pid), { timeoutMs: TIMEOUT_MS }));
});

function isZombie(pid: string): boolean {
  try {
    return readFileSync(`/proc/${pid}/stat`, 'latin1').includes(') Z ');
  } catch {
    return true;
  }
}

test('a fence that leaves something in the background is over when it has ended itself', async (t) => {
  const { ok } = await runFence({ command: 'sleep 30 & exit 0', timeoutMs: TIMEOUT_MS }, TARGET);
  t.true(ok);
});

test('a fence knows whom it is for, and its output is bounded', async (t) => {
  const command = 'echo "$KEMARI_DOMAIN $KEMARI_DOMAIN_UUID $KEMARI_PEER_HOST_ID $KEMARI_PEER_ADDRESSES"';
  const { text } = await runFence({ command, timeoutMs: TIMEOUT_MS }, TARGET);
  t.true(text.endsWith('it printed: web uuid-of-web host-a 10.0.0.1 fd00::1'), text);
  const loud = await runFence({ command: 'seq 1000000; echo the end', timeoutMs: TIMEOUT_MS }, TARGET);
  t.true(loud.ok);
  t.true(loud.text.length < 5000 && loud.text.endsWith('the end'));
});
