import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { waitUntil } from '../../src/base/deadline.js';
import { stageNames } from '../../src/stage/names.js';
import { guestTest, missing } from '../fixtures/guest-test.js';

/** Who ends a run of drills gets its machine back as it was. */

const DRILLS = join(import.meta.dirname, 'chain/main.js');
const TIMEOUT_MS = 120_000;
const INTERRUPTED = 130;
/** The first of them every day. */
const SIGNALS = ['SIGINT', 'SIGTERM'] as const;

for (const signal of process.env['KEMARI_LONG'] === undefined ? SIGNALS.slice(0, 1) : SIGNALS) {
  guestTest(`drills that are ended by ${signal} leave no namespace, no process and no file${missing}`, async (t) => {
    const child = spawn(process.execPath, [DRILLS, '--count', '1', '--seed', '1'], {
      stdio: 'ignore',
      timeout: TIMEOUT_MS,
    });
    const names = stageNames(`drills-${child.pid ?? 0}-1`);
    const ended = once(child, 'exit') as Promise<[number | null]>;
    // Its guest has been created by then, or is being created.
    const begun = (): boolean => existsSync(join(names.directory, 'guest.toml'));
    t.true(await waitUntil(begun, { timeoutMs: TIMEOUT_MS }));
    child.kill(signal);
    t.is((await ended)[0], INTERRUPTED);
    t.false(existsSync(names.directory) || existsSync(names.disks));
    t.deepEqual(
      readdirSync('/run/netns').filter((namespace) => namespace.includes(names.name)),
      [],
    );
  });
}
