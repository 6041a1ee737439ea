import test from 'ava';
import type { FaultPoint } from '../../src/base/fault-points.js';
import { sendSignal } from '../../src/stage/namespace.js';
import { otherHost, type HostName } from '../../src/stage/names.js';
import { GUEST_NAME } from '../../src/stage/staged-guest.js';
import { nowMs } from '../../src/stage/wall-clock.js';
import { GUEST_MISSING } from '../fixtures/guest-image.js';
import { AUTO, endsWell, goesOn, MANUAL, play, speaks, until, type Scene } from '../fixtures/two-hosts.js';

/** Points that a real guest's processes pass and fail at, one after the other on one guest. Long: where KEMARI_LONG asks for it. */

const drill = GUEST_MISSING === undefined ? test.serial : test.serial.skip;
const longDrill = process.env['KEMARI_LONG'] === undefined ? (): void => undefined : drill;
const missing = GUEST_MISSING === undefined ? '' : ` [needs ${GUEST_MISSING}]`;

/** By then the guest is protected, and whoever asked for it was told so. */
const PASS = 100;

/** A primary that fails there is taken over from. */
const PRIMARY_POINTS: readonly FaultPoint[] = ['capture.after-stop', 'send.last-byte', 'release.tested'];

/** A standby that fails there leaves its primary unharmed. */
const STANDBY_POINTS: readonly FaultPoint[] = ['receive.pages', 'apply.half', 'ack.before'];

/** kemarid anew; what it starts from now on fails at this point. */
async function restartDaemon({ stage, guest }: Scene, host: HostName, fault: string | undefined): Promise<void> {
  const listening = await stage.machines[host].run(['ss', '-Htlnp', 'src :8002']);
  for (const [, pid] of listening.matchAll(/pid=(\d+)/g)) sendSignal(Number(pid), 'SIGKILL');
  await until(`no kemarid on host ${host}`, async () => {
    return (await stage.machines[host].run(['ss', '-Htln', 'src :8002'])) === '';
  });
  await guest.startDaemon(host, fault === undefined ? {} : { fault });
}

function failsAt({ guest }: Scene, host: HostName, point: FaultPoint): Promise<void> {
  return until(`host ${host} fails at ${point}`, () => guest.log(host).includes(`fault at ${point}\n`));
}

longDrill(`a standby that dies at ${STANDBY_POINTS.join(', ')} leaves the guest unharmed${missing}`, async (t) => {
  await play(t, { migrate: false }, async (scene) => {
    const { guest } = scene;
    for (const point of STANDBY_POINTS) {
      await restartDaemon(scene, 'B', `${point}@${PASS}`);
      await guest.protect('A', ...MANUAL);
      await failsAt(scene, 'B', point);
      await until('host A goes on alone', async () => (await guest.info('A')).protection === undefined);
      await goesOn(scene);
    }
    await endsWell(t, scene, { on: 'A', turns: 'A' });
  });
});

longDrill(`a primary that dies at ${PRIMARY_POINTS.join(', ')} is taken over from${missing}`, async (t) => {
  await play(t, { migrate: false }, async (scene) => {
    const { stage, guest } = scene;
    const turns: HostName[] = ['A', 'B'];
    // What runs on host B from here on fails at the first of the points, once it is a primary.
    await restartDaemon(scene, 'B', `${PRIMARY_POINTS[0]!}@${PASS}`);
    await guest.protect('A', ...AUTO);
    await guest.kemari('A', 'switchover', GUEST_NAME);
    await goesOn(scene);
    for (const [index, point] of PRIMARY_POINTS.entries()) {
      const dying = turns.at(-1)!;
      const living = otherHost(dying);
      await stage.cables.heal();
      const next = PRIMARY_POINTS[index + 1];
      await restartDaemon(scene, living, next === undefined ? undefined : `${next}@${PASS}`);
      const protectedAtMs = nowMs();
      await guest.protect(dying, ...AUTO);
      await failsAt(scene, dying, point);
      await speaks(scene, living, protectedAtMs);
      await goesOn(scene);
      turns.push(living);
      await stage.cables.heal();
      await restartDaemon(scene, dying, undefined);
    }
    await endsWell(t, scene, { on: turns.at(-1)!, turns: turns.join(' ') });
  });
});
