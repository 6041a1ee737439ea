import { truncateSync, writeFileSync } from 'node:fs';
import test, { type ExecutionContext } from 'ava';
import { pattern, VIRTIO_BLK_T_OUT } from './disk-guest.js';
import { type Cut, cutAt, standbyDisk, type Standby, takeOver } from './moving.js';
import { eventOf, onStand, type Stand } from './stand.js';
import { until } from './until.js';

const DISK_BYTES = 1024 * 1024;
/** Places in a device's part of a checkpoint with one queue and no kept request (addon/ring/ring_state.h). */
const AT = {
  version: 4,
  kind: 6,
  features: 8,
  queueCount: 16,
  lost: 32,
  index: 36,
  size: 40,
  used: 44,
  pendingCount: 50,
} as const;
const REQUEST = 52;
const SEED = 20240229;

interface Prepared {
  readonly cut: Cut;
  readonly standby: Standby;
  readonly primary: ReturnType<Stand['openDisk']>;
}

/** A primary with one held write, cut, and a disk that is to take over. */
async function prepare(stand: Stand): Promise<Prepared> {
  const path = stand.file('disk.img');
  writeFileSync(path, '');
  truncateSync(path, DISK_BYTES);
  const primary = stand.openDisk({ target: { path } });
  stand.gate.close();
  primary.guest.offer(VIRTIO_BLK_T_OUT, 8, { data: pattern(1024, 1) });
  primary.driver.kick();
  await until(() => primary.device.pending().length === 1, 'it is held');
  const standby = standbyDisk(stand, primary.device, { target: { path } });
  return { cut: cutAt(stand, primary, [primary.driver]), standby, primary };
}

function changed(bytes: Buffer, change: (copy: Buffer) => void): Buffer {
  const copy = Buffer.from(bytes);
  change(copy);
  return copy;
}

function refused(t: ExecutionContext, standby: Standby, bytes: Buffer, why: RegExp): void {
  t.throws(
    () => {
      standby.device.restore(bytes);
    },
    { code: 'KEMARI_RING_STATE', message: why },
  );
}

test.serial(
  'a checkpoint that is not one is refused, with what was found, and the right one is taken after it',
  onStand(async (t, stand) => {
    const { cut, standby } = await prepare(stand);
    const { bytes } = cut;
    const wrong: [RegExp, (copy: Buffer) => void][] = [
      [/does not start like one/, (copy) => copy.writeUInt32LE(1, 0)],
      [/version 1, expected 4/, (copy) => copy.writeUInt16LE(1, AT.version)],
      [/a device of kind 0/, (copy) => copy.writeUInt8(0, AT.kind)],
      [/another device: kind 2/, (copy) => copy.writeUInt8(2, AT.kind)],
      [/with 2 queues, expected/, (copy) => copy.writeUInt32LE(2, AT.queueCount)],
      [/7 changes lost of 0/, (copy) => copy.writeUInt32LE(7, AT.lost)],
      [/queue 5 of 1/, (copy) => copy.writeUInt32LE(5, AT.index)],
      [/a queue of size 3/, (copy) => copy.writeUInt16LE(3, AT.size)],
      [/a queue of size 0/, (copy) => copy.writeUInt16LE(0, AT.size)],
      [/before its last field|pending twice/, (copy) => copy.writeUInt16LE(2, AT.pendingCount)],
      [/is answered|behind its end|last field/, (copy) => copy.writeUInt16LE(0, AT.pendingCount)],
      [/head 4000 is outside/, (copy) => copy.writeUInt16LE(4000, REQUEST)],
      [/a request of kind 9/, (copy) => copy.writeUInt8(9, REQUEST + 2)],
      [/a request at place 3/, (copy) => copy.writeUInt8(3, REQUEST + 3)],
      [/with 4294967295 segments/, (copy) => copy.writeUInt32LE(0xffffffff, REQUEST + 4)],
      [/with sequence 0/, (copy) => copy.writeBigUInt64LE(0n, REQUEST + 8)],
      [/bytes to write/, (copy) => copy.writeBigUInt64LE(1n << 40n, REQUEST + 24)],
      [/an empty segment/, (copy) => copy.writeUInt32LE(0, REQUEST + 48)],
    ];
    for (const [why, change] of wrong) refused(t, standby, changed(bytes, change), why);
    for (let length = 0; length < bytes.length; length += 1) {
      refused(t, standby, bytes.subarray(0, length), /before its last field|with 1 segments/);
    }
    refused(t, standby, Buffer.concat([bytes, Buffer.alloc(1)]), /1 bytes behind its end/);
    standby.device.restore(bytes);
    refused(t, standby, bytes, /too late/);
  }),
);

test.serial(
  'what only shows when the queue starts ends the device, and nothing leaves',
  onStand(async (t, stand) => {
    const { cut, standby, primary } = await prepare(stand);
    await primary.device.close();
    const bytes = changed(cut.bytes, (copy) => copy.writeBigUInt64LE(0xdead_beef_0000n, REQUEST + 40));
    await takeOver(stand, standby, { ...cut, bytes }, [primary.driver]).catch(() => undefined);
    const event = await eventOf(standby.events, 'protocol-error');
    t.is(event.code, 'KEMARI_RING_STATE');
    t.regex(event.text, /outside guest memory/);
    t.is(standby.device.stats().writes, 0);
  }),
);

test.serial(
  'other features than those of the checkpoint end the device',
  onStand(async (t, stand) => {
    const { cut, standby, primary } = await prepare(stand);
    await primary.device.close();
    const bytes = changed(cut.bytes, (copy) => copy.writeBigUInt64LE(1n, AT.features));
    await takeOver(stand, standby, { ...cut, bytes }, [primary.driver]).catch(() => undefined);
    t.regex((await eventOf(standby.events, 'protocol-error')).text, /other features/);
  }),
);

test.serial(
  'a write beyond the end of the disk is answered with an error, as one of the guest would be',
  onStand(async (t, stand) => {
    const { cut, standby, primary } = await prepare(stand);
    await primary.device.close();
    const bytes = changed(cut.bytes, (copy) => copy.writeBigUInt64LE(1n << 60n, REQUEST + 16));
    await takeOver(stand, standby, { ...cut, bytes }, [primary.driver]);
    t.is(primary.guest.wait(1)[0]!.status, 1);
    t.is(standby.device.stats().writes, 0);
  }),
);

test.serial(
  `checkpoints with any bytes changed are refused or served, never more (seed ${SEED})`,
  onStand(async (t, stand) => {
    const { cut, primary } = await prepare(stand);
    await primary.device.close();
    let state = SEED;
    const random = (below: number): number => {
      state = (Math.imul(state, 1103515245) + 12345) >>> 0;
      return (state >>> 8) % below;
    };
    let served = 0;
    for (let round = 0; round < 150; round += 1) {
      const bytes = changed(cut.bytes, (copy) => {
        const head = Math.min(copy.length, REQUEST + 52);
        for (let i = 0; i <= random(3); i += 1) copy.writeUInt8(random(256), random(head));
      });
      const next = standbyDisk(stand, primary.device, { target: { path: stand.file('disk.img') } });
      try {
        await takeOver(stand, next, { ...cut, bytes }, [primary.driver]);
        served += 1;
      } catch {
        // refused, or the device has ended
      }
      next.frontEnd.close();
      await next.device.close();
    }
    t.true(served > 0 && served < 150);
  }),
);
