import test, { type ExecutionContext } from 'ava';
import { waitUntil } from '../../src/base/deadline.js';
import { MAX_UNACKED_BYTES } from '../../src/engine/policy.js';
import type { ProtectionInfo } from '../../src/host/contract.js';
import type { EpochRecord } from '../../src/host/epoch-record.js';
import { HOST_NAMES, otherHost, type HostName } from '../../src/stage/names.js';
import { GUEST_MAC, GUEST_NAME, StagedGuest } from '../../src/stage/staged-guest.js';
import { HOST_ADDRESSES } from '../../src/stage/topology.js';
import { TwoHosts } from '../../src/stage/two-hosts.js';
import { nowMs } from '../../src/stage/wall-clock.js';
import { Witness } from '../../src/stage/witness.js';
import { GUEST_IMAGE, GUEST_MISSING } from '../fixtures/guest-image.js';
import { guestTest, longGuestTest, missing } from '../fixtures/guest-test.js';

const WAIT_MS = 30_000;
const BOOT_MS = 150_000;
const WRITTEN_MIB = 16;

/** One guest for all drills: each leaves it running and unprotected, on whichever host. */
let stage: TwoHosts;
let guest: StagedGuest;

test.before(async () => {
  if (GUEST_MISSING !== undefined) return;
  stage = await TwoHosts.up('test-protect', { owned: true });
  guest = await StagedGuest.boot(stage, { image: GUEST_IMAGE });
  for (const host of HOST_NAMES) await guest.startDaemon(host);
});

test.after.always(async () => {
  // Undefined where the stage could not be built.
  await (stage as TwoHosts | undefined)?.down();
});

async function runningHost(): Promise<HostName> {
  return (await guest.runsOn('A')) ? 'A' : 'B';
}

async function protection(host: HostName): Promise<ProtectionInfo | undefined> {
  return (await guest.info(host)).protection;
}

async function until(t: ExecutionContext, what: string, condition: () => Promise<boolean>): Promise<void> {
  const held = await waitUntil(condition, { timeoutMs: WAIT_MS });
  if (!held) t.log(guest.log('A'), guest.log('B'));
  t.true(held, `within ${WAIT_MS} ms: ${what}`);
}

/** The client's connection with the guest goes on across `during`, and nothing of it is lost, doubled or out of order. */
async function conversing(t: ExecutionContext, during: () => Promise<void>): Promise<void> {
  const conversation = await guest.converse();
  await conversation.untilAnswered(20);
  await during();
  const answered = conversation.answered;
  await conversation.untilAnswered(answered + 20);
  const report = await conversation.stop();
  t.like(report, { broken: undefined, violations: [], unanswered: 0 });
}

for (const policy of [['--kemari'], ['--kemari', '--strict'], ['--remus', '--interval', '50']]) {
  guestTest(
    `a client does not notice that its guest is protected with ${policy.join(' ')}, nor that this ends${missing}`,
    async (t) => {
      const host = await runningHost();
      const there = HOST_ADDRESSES[otherHost(host)].sync;
      await conversing(t, async () => {
        await guest.kemari(host, 'migrate', GUEST_NAME, there, ...policy, '--detach');
        const first = (await protection(host))!;
        t.is(first.state, 'protected');
        await until(
          t,
          'epochs go on',
          async () => Number((await protection(host))!.ackedEpoch) > Number(first.epoch) + 5,
        );
        await guest.run('dd if=/dev/urandom of=/root/written bs=16k count=40 oflag=direct conv=fsync');
        await checkTrace(t, host);
        await guest.kemari(host, 'unprotect', GUEST_NAME);
        t.is(await protection(host), undefined);
      });
      const { gate } = await guest.info(host);
      t.true(gate.open);
      await until(t, 'the standby forgets the domain', async () => (await domains(otherHost(host))).length === 0);
    },
  );
}

guestTest(`what a guest writes to its disk crosses the sync link once${missing}`, async (t) => {
  const host = await runningHost();
  await guest.run(`dd if=/dev/urandom of=/dev/shm/random bs=1M count=${WRITTEN_MIB} 2>/dev/null`);
  await guest.protect(host);
  const { sentBytes } = (await protection(host))!;
  await guest.run('dd if=/dev/shm/random of=/root/written bs=1M conv=fsync 2>/dev/null');
  const sentMib = ((await protection(host))!.sentBytes - sentBytes) / 2 ** 20;
  t.log(`${sentMib.toFixed(1)} MiB for ${WRITTEN_MIB} MiB`);
  // Noise does not get smaller; with what else the guest's memory and its devices have become.
  t.true(sentMib > WRITTEN_MIB && sentMib < 1.8 * WRITTEN_MIB, `${sentMib} MiB`);
  await guest.run('cmp /dev/shm/random /root/written && rm /dev/shm/random');
  await guest.kemari(host, 'unprotect', GUEST_NAME);
});

/** What kemari says of its epochs can have been so. */
async function checkTrace(t: ExecutionContext, host: HostName): Promise<void> {
  const epochs = JSON.parse(await guest.kemari(host, 'trace', '--json', GUEST_NAME)) as EpochRecord[];
  t.true(epochs.length > 5);
  for (const { epoch, heldAtMs, orderedAtMs, capturedAtMs, ackedAtMs, timings, pauseUs } of epochs) {
    const times = [heldAtMs ?? orderedAtMs, orderedAtMs, capturedAtMs, ackedAtMs];
    t.deepEqual(times.toSorted((a, b) => a - b), times, `epoch ${epoch}`); // prettier-ignore
    t.true(timings.stopUs > 0 && timings.scanUs > 0 && timings.serializeUs > 0, `epoch ${epoch}`);
    t.true(pauseUs + 1 >= timings.stopUs + timings.serializeUs, `epoch ${epoch}`);
  }
}

async function domains(host: HostName): Promise<unknown[]> {
  return JSON.parse(await guest.kemari(host, 'list', '--json')) as unknown[];
}

guestTest(
  `not a frame leaves while the standby's acks do not arrive; all of them do once they do${missing}`,
  async (t) => {
    const host = await runningHost();
    await guest.protect(host);
    const witness = await Witness.start(stage.machines.switch);
    await conversing(t, async () => {
      // Checkpoints still arrive over there: what is missing is only the ack, and the lease.
      await stage.cables.cut('sync', otherHost(host));
      await until(t, 'the primary hears that it is alone', async () => (await protection(host))?.state === 'silent');
      const silentAtMs = nowMs();
      await until(t, 'output is held', async () => (await protection(host))!.held > 0);
      await until(t, 'the client tries again and again', () => Promise.resolve(nowMs() - silentAtMs > 1_000));
      t.deepEqual(witness.framesOf(GUEST_MAC, silentAtMs), []);
      await stage.cables.heal();
      await until(t, 'it is protected again', async () => (await protection(host))?.state === 'protected');
      await until(t, 'frames leave', () => Promise.resolve(witness.framesOf(GUEST_MAC, silentAtMs).length > 0));
    });
    await witness.stop();
    await guest.kemari(host, 'unprotect', GUEST_NAME);
  },
);

longGuestTest(
  `a slow link slows the guest: what waits for it stays bounded, and the guest goes on${missing}`,
  async (t) => {
    const host = await runningHost();
    await guest.protect(host);
    await stage.cables.shape('sync', '40mbit');
    try {
      const writing = guest.run('for i in 1 2 3; do dd if=/dev/urandom of=/dev/shm/fill bs=1M count=48; done', 120_000);
      let worst = 0;
      let done = false as boolean;
      writing.then(
        () => (done = true),
        () => (done = true),
      );
      while (!done) {
        const info = await protection(host);
        worst = Math.max(worst, info?.unackedBytes ?? 0);
        await waitUntil(() => done, { timeoutMs: 200 });
      }
      await writing;
      t.log(`at most ${(worst / 2 ** 20).toFixed(1)} MiB were not acknowledged`);
      t.true(worst < MAX_UNACKED_BYTES + 64 * 2 ** 20);
      t.is((await protection(host))?.state, 'protected');
    } finally {
      await stage.cables.shape('sync', undefined);
    }
    await guest.run('rm /dev/shm/fill');
    await guest.kemari(host, 'unprotect', GUEST_NAME);
  },
);

longGuestTest(`a protected guest can be paused, and rebooted, and stays protected${missing}`, async (t) => {
  const host = await runningHost();
  await guest.protect(host);
  await guest.kemari(host, 'pause', GUEST_NAME);
  const { epoch } = (await protection(host))!;
  await until(
    t,
    'a paused guest is synchronized, too',
    async () => Number((await protection(host))!.epoch) > Number(epoch) + 1,
  );
  t.is((await guest.info(host)).state, 'paused');
  await guest.kemari(host, 'unpause', GUEST_NAME);
  const before = await guest.run('cat /proc/sys/kernel/random/boot_id');
  await guest.kemari(host, 'reboot', GUEST_NAME);
  const rebooted = async (): Promise<boolean> => {
    const after = await guest.run('cat /proc/sys/kernel/random/boot_id').catch(() => before);
    return after !== before;
  };
  t.true(await waitUntil(rebooted, { timeoutMs: BOOT_MS, everyMs: 500 }));
  t.is((await protection(host))?.state, 'protected');
  await guest.kemari(host, 'unprotect', GUEST_NAME);
});

longGuestTest(
  `a guest is handed over to its standby and back, and moved, under a client's connection${missing}`,
  async (t) => {
    await conversing(t, async () => {
      for (let turn = 0; turn < 4; turn++) {
        const host = await runningHost();
        const there = otherHost(host);
        if (turn % 2 === 0) {
          await guest.protect(host);
          await guest.kemari(host, 'switchover', GUEST_NAME);
        } else {
          await guest.kemari(host, 'migrate', GUEST_NAME, HOST_ADDRESSES[there].sync, '--live');
        }
        await guest.untilRunsOn(there, WAIT_MS);
        await until(t, 'nothing is left of it here', async () => (await domains(host)).length === 0);
      }
    });
  },
);

guestTest(
  `a machine that dies under protection goes on at the standby, and is not restarted here${missing}`,
  async (t) => {
    const host = await runningHost();
    await guest.protect(host);
    const { qemuPid } = await guest.info(host);
    await conversing(t, async () => {
      process.kill(qemuPid!, 'SIGKILL');
      await guest.untilRunsOn(otherHost(host), WAIT_MS);
    });
    t.is((await guest.info(otherHost(host))).takeover?.reason, 'machine-died');
    await until(t, 'nothing is left of it here', async () => (await domains(host)).length === 0);
  },
);

guestTest(`an operator is told what cannot be done, by name${missing}`, async (t) => {
  const host = await runningHost();
  await t.throwsAsync(guest.kemari(host, 'unprotect', GUEST_NAME), { code: 'KEMARI_NOT_PROTECTED' });
  await t.throwsAsync(guest.kemari(host, 'switchover', GUEST_NAME), { code: 'KEMARI_NOT_PROTECTED' });
  await guest.protect(host);
  await t.throwsAsync(guest.protect(host), { code: 'KEMARI_ALREADY_PROTECTED' });
  await t.throwsAsync(guest.kemari(host, 'resume', '--unprotected', GUEST_NAME), { code: 'KEMARI_PEER_ANSWERS' });
  await guest.kemari(host, 'unprotect', GUEST_NAME);
});

guestTest(`a guest that powers off under protection ends on both sides${missing}`, async (t) => {
  const host = await runningHost();
  await guest.protect(host);
  await guest.shutdown(host);
  for (const each of HOST_NAMES) {
    await until(t, `host ${each} has no domain`, async () => (await domains(each)).length === 0);
  }
});
