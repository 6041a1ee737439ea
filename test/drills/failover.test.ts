import type { MachineType } from '../../src/model/domain-config.js';
import { guestTest, missing } from '../fixtures/guest-test.js';
import {
  endsWell,
  goesOn,
  isProtected,
  kill,
  play,
  revive,
  TAKEOVER_TIMEOUT_MS,
  type Takeover,
} from '../fixtures/two-hosts.js';

const LONG = process.env['KEMARI_LONG'] !== undefined;

interface Shape {
  readonly machine: MachineType;
  readonly vcpus: 1 | 2;
  /** Disks, and as many NICs. */
  readonly devices: 1 | 2;
}

/** Every machine, each number of vCPUs and devices; the rest of the combinations with --long. */
const SHAPES: readonly Shape[] = [
  { machine: 'q35', vcpus: 2, devices: 1 },
  { machine: 'pc', vcpus: 1, devices: 2 },
  { machine: 'microvm', vcpus: 1, devices: 1 },
];
const MORE_SHAPES: readonly Shape[] = (['q35', 'pc', 'microvm'] as const)
  .flatMap((machine) =>
    ([1, 2] as const).flatMap((vcpus) => ([1, 2] as const).map((devices) => ({ machine, vcpus, devices }))),
  )
  .filter((shape) => !SHAPES.some((known) => JSON.stringify(known) === JSON.stringify(shape)));

const SECOND_DISK_BYTES = 32 << 20;

for (const { machine, vcpus, devices } of [...SHAPES, ...(LONG ? MORE_SHAPES : [])]) {
  const title = `${machine}, vCPUs: ${vcpus}, disks and NICs: ${devices} each: host A dies, host B carries the guest on`;
  guestTest(`${title}${missing}`, async (t) => {
    const two = devices === 2;
    await play(
      t,
      { machine, vcpus, moreDisks: two ? [SECOND_DISK_BYTES] : [], moreVifs: devices - 1 },
      async (scene) => {
        const { guest } = scene;
        const seed = 'dd if=/dev/urandom of=/run/seed bs=1M count=8 2>/dev/null; sha256sum </run/seed';
        const sum = await guest.run(seed);
        // Held and written back after the takeover, on a disk that only the takeover opens on host B.
        if (two) await guest.run('dd if=/run/seed of=/dev/vdb bs=1M oflag=direct conv=fsync 2>/dev/null');
        const takeover = await kill(scene, 'A');
        t.log(`first frame ${takeover.firstFrameMs.toFixed(0)} ms, next byte ${takeover.nextByteMs.toFixed(0)} ms`);
        t.true(await guest.runsOn('B'));
        await goesOn(scene);
        t.is(await guest.run('sha256sum </run/seed'), sum, 'memory');
        if (two) {
          t.is(
            await guest.run('dd if=/dev/vdb bs=1M count=8 iflag=direct 2>/dev/null | sha256sum'),
            sum,
            'second disk',
          );
          t.regex(await guest.run('ip link show eth1'), /00:16:3e:77:01:01/);
        }
        await endsWell(t, scene, { on: 'B', turns: 'A B' });
      },
    );
  });
}

const KILLS = LONG ? 20 : 3;
/** Beyond the takeover timeout, to the guest's first frame. */
const SLACK_MS = 100;

guestTest(
  `${KILLS} hosts in a row die, each time the other one carries the guest on and is protected again${missing}`,
  async (t) => {
    await play(t, {}, async (scene) => {
      const takeovers: Takeover[] = [];
      const turns: string[] = ['A'];
      for (let round = 0; round < KILLS; round += 1) {
        const [dying, living] = round % 2 === 0 ? (['A', 'B'] as const) : (['B', 'A'] as const);
        await goesOn(scene);
        takeovers.push(await kill(scene, dying));
        turns.push(living);
        await goesOn(scene);
        if (round === KILLS - 1) break;
        await revive(scene, dying);
        await scene.guest.protect(living, '--failover', 'auto', '--takeover-timeout', String(TAKEOVER_TIMEOUT_MS));
        await isProtected(scene, living);
      }
      const text = (pick: (takeover: Takeover) => number): string =>
        takeovers.map((takeover) => pick(takeover).toFixed(0)).join(' ');
      t.log(`ms from SIGKILL to the guest's first frame: ${text(({ firstFrameMs }) => firstFrameMs)}`);
      t.log(`ms from SIGKILL to the client's next byte: ${text(({ nextByteMs }) => nextByteMs)}`);
      const late = takeovers.filter(({ firstFrameMs }) => firstFrameMs > TAKEOVER_TIMEOUT_MS + SLACK_MS);
      // A figure of the issue; on a machine that does other work it is told, not asserted.
      t.log(`within ${TAKEOVER_TIMEOUT_MS} + ${SLACK_MS} ms: ${takeovers.length - late.length} of ${takeovers.length}`);
      await endsWell(t, scene, { on: KILLS % 2 === 0 ? 'A' : 'B', turns: turns.join(' ') });
    });
  },
);
