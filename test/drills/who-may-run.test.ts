import { setTimeout as delay } from 'node:timers/promises';
import { sendSignal } from '../../src/stage/namespace.js';
import type { HostName } from '../../src/stage/names.js';
import { GUEST_MAC, GUEST_NAME } from '../../src/stage/staged-guest.js';
import { nowMs } from '../../src/stage/wall-clock.js';
import { guestTest, longGuestTest, missing } from '../fixtures/guest-test.js';
import {
  AUTO,
  endsWell,
  goesOn,
  isProtected,
  keepsItsWord,
  LEASE_MS,
  MANUAL,
  play,
  speaks,
  TAKEOVER_TIMEOUT_MS,
  until,
  type Scene,
} from '../fixtures/two-hosts.js';

/** The table "Who may run" of the design: each row that can be driven from outside. */

/** That somebody stays silent can only be waited for: several takeover timeouts, and some retransmissions of the client. */
const SILENCE_MS = 4 * TAKEOVER_TIMEOUT_MS;

/** From a cut to the last frame that a valid lease let out, and its way through the machine. */
const LAST_WORD_MS = LEASE_MS + 200;

/** The standby's word for it. */
const NOTHING_HEARD = /nothing was heard of the primary/;

/** Nobody speaks for the guest from `LAST_WORD_MS` after a time on, for a while. */
async function nobodySpeaks({ witness }: Scene, sinceMs: number): Promise<boolean> {
  await delay(Math.max(sinceMs + LAST_WORD_MS - nowMs(), 0) + SILENCE_MS);
  return witness.framesOf(GUEST_MAC, sinceMs + LAST_WORD_MS).length === 0;
}

async function primaryIs({ guest }: Scene, state: string): Promise<void> {
  await until(`host A says "${state}"`, async () => (await guest.info('A')).protection?.state === state);
}

/** SIGHUP to the process that stands by on host B: an operator's word in the manner of 2008. */
async function hangUp({ guest }: Scene): Promise<void> {
  sendSignal((await guest.info('B')).dmPid, 'SIGHUP');
}

function logs({ guest }: Scene, host: HostName, pattern: RegExp): Promise<void> {
  return until(`host ${host} logs ${pattern.source}`, () => pattern.test(guest.log(host)));
}

guestTest(
  `sync link cut, both hosts alive: the primary holds, the standby waits, and all goes on when it is mended${missing}`,
  async (t) => {
    await play(t, { fence: false, migrate: MANUAL }, async (scene) => {
      const { guest, stage } = scene;
      const cutAtMs = nowMs();
      await stage.cables.cut('sync');
      await primaryIs(scene, 'silent');
      t.true(await nobodySpeaks(scene, cutAtMs), 'held');
      await hangUp(scene);
      await logs(scene, 'B', /KEMARI_PRIMARY_RUNS|still runs/);
      t.false(await guest.runsOn('B'));
      await stage.cables.heal();
      await isProtected(scene, 'A');
      await goesOn(scene);
      await endsWell(t, scene, { on: 'A', turns: 'A' });
    });
  },
);

guestTest(
  `SIGHUP at silence takes over, and the primary that was only cut off never speaks again${missing}`,
  async (t) => {
    await play(t, { fence: false, migrate: MANUAL }, async (scene) => {
      const { guest, stage } = scene;
      const cutAtMs = nowMs();
      await stage.cables.cut('A');
      await primaryIs(scene, 'silent');
      await logs(scene, 'B', NOTHING_HEARD);
      t.false(await guest.runsOn('B'), 'manual: it waits for its operator');
      await hangUp(scene);
      await speaks(scene, 'B', cutAtMs);
      await goesOn(scene);
      await stage.cables.heal();
      await delay(SILENCE_MS);
      await goesOn(scene);
      await endsWell(t, scene, { on: 'B', turns: 'A B' });
    });
  },
);

guestTest(`a host that slept through its takeover says nothing when it wakes up${missing}`, async (t) => {
  await play(t, { fence: false, migrate: MANUAL }, async (scene) => {
    const { stage } = scene;
    const asleepAtMs = nowMs();
    const sleepers = stage.machines.A.pids();
    for (const pid of sleepers) sendSignal(pid, 'SIGSTOP');
    await logs(scene, 'B', NOTHING_HEARD);
    await hangUp(scene);
    await speaks(scene, 'B', asleepAtMs);
    await goesOn(scene);
    for (const pid of sleepers) sendSignal(pid, 'SIGCONT');
    await delay(SILENCE_MS);
    await goesOn(scene);
    await endsWell(t, scene, { on: 'B', turns: 'A B' });
  });
});

longGuestTest(
  `--failover auto: a host that is only cut off is fenced before its guest goes on elsewhere${missing}`,
  async (t) => {
    await play(t, { migrate: AUTO }, async (scene) => {
      const { guest, stage } = scene;
      const cutAtMs = nowMs();
      await stage.cables.cut('sync');
      await speaks(scene, 'B', cutAtMs);
      t.deepEqual(stage.machines.A.pids(), []);
      await logs(scene, 'B', /fenced/);
      await goesOn(scene);
      t.true(await guest.runsOn('B'));
      await endsWell(t, scene, { on: 'B', turns: 'A B' });
    });
  },
);

guestTest(
  `the primary's process dies and its kemarid says so: only writes that may land late need a fence${missing}`,
  async (t) => {
    await play(t, { migrate: AUTO }, async (scene) => {
      const { guest, stage } = scene;
      const killedAtMs = nowMs();
      sendSignal((await guest.info('A')).dmPid, 'SIGKILL');
      const spokeAtMs = await speaks(scene, 'B', killedAtMs);
      t.log(`first frame after ${(spokeAtMs - killedAtMs).toFixed(0)} ms`);
      await goesOn(scene);
      const { takeover } = await guest.info('B');
      if (takeover?.reason === 'fenced') t.regex(guest.log('B'), /disk writes of it may be under way/);
      else t.like(takeover, { reason: 'peer-dead' });
      t.is(stage.machines.A.pids().length === 0, takeover?.reason === 'fenced', 'else the rest of host A lives on');
      await endsWell(t, scene, { on: 'B', turns: 'A B' });
    });
  },
);

longGuestTest(
  `the primary's QEMU dies: the standby is told and takes over, and nothing is restarted here${missing}`,
  async (t) => {
    await play(t, { migrate: MANUAL, keys: { on_crash: 'restart' } }, async (scene) => {
      const { guest } = scene;
      const killedAtMs = nowMs();
      sendSignal((await guest.info('A')).qemuPid ?? 0, 'SIGKILL');
      await speaks(scene, 'B', killedAtMs);
      await goesOn(scene);
      await until('host A has no domain', async () => (await guest.kemari('A', 'list', '--json')).trim() === '[]');
      await endsWell(t, scene, { on: 'B', turns: 'A B' });
    });
  },
);

longGuestTest(`--on-silence continue: the primary goes on alone, and SIGHUP is refused${missing}`, async (t) => {
  await play(t, { fence: false, migrate: [...MANUAL, '--on-silence', 'continue'] }, async (scene) => {
    const { guest, stage } = scene;
    await stage.cables.cut('sync');
    await until('host A goes on alone', async () => (await guest.info('A')).protection === undefined);
    await goesOn(scene);
    await hangUp(scene);
    await logs(scene, 'B', /KEMARI_PRIMARY_MAY_RUN|may still run the guest/);
    await t.throwsAsync(guest.kemari('B', 'takeover', GUEST_NAME), { code: 'KEMARI_PRIMARY_MAY_RUN' });
    t.false(await guest.runsOn('B'));
    await goesOn(scene);
    await endsWell(t, scene, { on: 'A', turns: 'A' });
  });
});

longGuestTest(`resume --unprotected: a primary that holds goes on at its operator's word${missing}`, async (t) => {
  await play(t, { fence: false, migrate: MANUAL }, async (scene) => {
    const { guest, stage } = scene;
    await t.throwsAsync(guest.kemari('A', 'resume', '--unprotected', GUEST_NAME), { code: 'KEMARI_PEER_ANSWERS' });
    const cutAtMs = nowMs();
    await stage.cables.cut('B');
    await primaryIs(scene, 'silent');
    t.true(await nobodySpeaks(scene, cutAtMs), 'held');
    await guest.kemari('A', 'resume', '--unprotected', GUEST_NAME);
    await goesOn(scene);
    await stage.cables.heal();
    await delay(SILENCE_MS);
    t.false(await guest.runsOn('B'));
    await goesOn(scene);
    await endsWell(t, scene, { on: 'A', turns: 'A' });
  });
});

guestTest(
  `protection outlives kemarid; when the standby dies the guest goes on and can be protected again${missing}`,
  async (t) => {
    await play(t, { migrate: MANUAL }, async (scene) => {
      const { guest, stage } = scene;
      const standby = (await guest.info('B')).dmPid;
      for (const pid of await kemaridOf(scene, 'B')) sendSignal(pid, 'SIGKILL');
      await goesOn(scene);
      t.is((await guest.info('A')).protection?.state, 'protected');
      await guest.startDaemon('B');
      sendSignal(standby, 'SIGKILL');
      await until('host A goes on alone', async () => (await guest.info('A')).protection === undefined);
      await goesOn(scene);
      await guest.protect('A', ...MANUAL);
      await isProtected(scene, 'A');
      await goesOn(scene);
      t.not(stage.machines.B.pids().length, 0);
      await endsWell(t, scene, { on: 'A', turns: 'A' });
    });
  },
);

/** kemarid writes its pid where others of its host find it. */
async function kemaridOf({ stage }: Scene, host: HostName): Promise<number[]> {
  const listening = await stage.machines[host].run(['ss', '-Htlnp', 'src :8002']);
  return [...listening.matchAll(/pid=(\d+)/g)].map((match) => Number(match[1]));
}

for (const [how, end] of [
  ['unprotect', (scene: Scene) => scene.guest.kemari('A', 'unprotect', GUEST_NAME)],
  ['destroy', (scene: Scene) => scene.guest.kemari('A', 'destroy', GUEST_NAME)],
] as const) {
  longGuestTest(`${how} reaches the standby, which ends without a trace${missing}`, async (t) => {
    await play(t, { migrate: MANUAL }, async (scene) => {
      const { guest } = scene;
      await end(scene);
      await until(
        'host B stands by for nobody',
        async () => (await guest.kemari('B', 'list', '--json')).trim() === '[]',
      );
      if (how === 'destroy') return;
      await goesOn(scene);
      t.is((await guest.info('A')).protection, undefined);
      t.true((await guest.info('A')).gate.open);
      await endsWell(t, scene, { on: 'A', turns: 'A' });
    });
    t.pass();
  });
}

longGuestTest(`a guest that reboots stays protected, and is carried on after it${missing}`, async (t) => {
  await play(t, { migrate: AUTO }, async (scene) => {
    const { guest, stage } = scene;
    await keepsItsWord(t, scene);
    const bootId = 'cat /proc/sys/kernel/random/boot_id';
    const before = await guest.run(bootId);
    await guest.run('(sleep 0.2; reboot -f) >/dev/null 2>&1 &');
    const now = async (): Promise<string> => guest.run(bootId, 2_000).catch(() => before);
    await until('another boot', async () => (await now()) !== before, 150_000);
    t.is((await guest.info('A')).protection?.state, 'protected');
    const after = await guest.run(bootId);
    const killedAtMs = await stage.crash('A');
    await speaks(scene, 'B', killedAtMs);
    t.is(await guest.run(bootId), after);
    await guest.shutdown('B');
  });
});
