import { readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { setTimeout } from 'node:timers/promises';
import test from 'ava';
import type { HeldOutput } from '../../src/native/addon.js';
import { pattern, VIRTIO_BLK_S_OK, VIRTIO_BLK_T_OUT } from './disk-guest.js';
import { onStand, type Stand } from './stand.js';
import { until } from './until.js';

const FOREVER_NS = 1n << 62n;

function diskFile(stand: Stand): string {
  const path = stand.file('disk.img');
  writeFileSync(path, '');
  truncateSync(path, 1024 * 1024);
  return path;
}

function bootTimeNs(): bigint {
  const [seconds = '0'] = readFileSync('/proc/uptime', 'latin1').split(' ');
  return BigInt(Math.round(Number(seconds) * 100)) * 10_000_000n;
}

test.serial(
  'what is held is told once, and again after each cut; what the cut covers is not told again',
  onStand(async (t, stand) => {
    const { guest, driver, device } = stand.openDisk({ target: { path: diskFile(stand) } });
    const told: HeldOutput[] = [];
    stand.gate.setHeldListener((held) => told.push(held));
    const hold = async (): Promise<void> => {
      const before = device.pending().length;
      guest.offer(VIRTIO_BLK_T_OUT, before, { data: pattern(512, 1) });
      driver.kick();
      await until(() => device.pending().length === before + 1, 'it is held');
    };
    t.is(guest.write(1, pattern(512, 1)), VIRTIO_BLK_S_OK); // the gate is open: nobody is told
    stand.gate.close();
    await hold();
    await hold();
    await until(() => told.length === 1, 'the first is told');
    t.deepEqual(told[0], { output: 'request', sequence: 2n });
    t.is(stand.gate.cut(), 3n);
    await setTimeout(20);
    t.is(told.length, 1);
    await hold();
    await hold();
    await until(() => told.length === 2, 'the first after the cut is told');
    t.is(told[1]!.sequence, 4n);
    stand.gate.setHeldListener(undefined);
    stand.gate.cut();
    await hold();
    await setTimeout(20);
    t.is(told.length, 2);
  }),
);

test.serial(
  'however requests and cuts fall together, every request that a cut does not cover is told',
  onStand(async (t, stand) => {
    const { guest, driver } = stand.openDisk({ target: { path: diskFile(stand) } });
    let told = 0n;
    stand.gate.setHeldListener(({ sequence }) => {
      told = sequence > told ? sequence : told;
    });
    stand.gate.close();
    for (let round = 0; round < 300; round += 1) {
      guest.offer(VIRTIO_BLK_T_OUT, 0, { data: pattern(512, round) });
      driver.kick();
      for (let spin = round % 40; spin > 0; spin -= 1) t.true(stand.gate.lastSequence >= 0n);
      const through = stand.gate.cut();
      await until(() => stand.gate.lastSequence === BigInt(round + 1), 'it is held');
      if (through < BigInt(round + 1)) await until(() => told === BigInt(round + 1), `request ${round + 1} is told`);
      stand.gate.release(stand.gate.lastSequence);
      t.is(guest.wait(1)[0]!.status, VIRTIO_BLK_S_OK);
    }
  }),
);

test.serial(
  'without a valid lease nothing leaves, released or not, gate open or closed; after a renewal it does',
  onStand(async (t, stand) => {
    const path = diskFile(stand);
    const { guest, driver, device } = stand.openDisk({ target: { path } });
    const { gate } = stand;
    t.true(gate.hasLease);
    gate.requireLease(true);
    t.false(gate.hasLease);
    guest.offer(VIRTIO_BLK_T_OUT, 0, { data: pattern(512, 1) });
    driver.kick();
    await until(() => device.pending()[0]?.held === true, 'the open gate holds it');
    gate.close();
    guest.offer(VIRTIO_BLK_T_OUT, 1, { data: pattern(512, 2) });
    driver.kick();
    await until(() => device.pending().length === 2, 'the closed gate holds it');
    gate.release(gate.lastSequence);
    gate.renewLease(bootTimeNs() - 1_000_000_000n);
    t.is(guest.read(5, 512).status, VIRTIO_BLK_S_OK); // a read is not outbound, and tells that the device has looked
    t.is(device.pending().length, 2);
    t.deepEqual(readFileSync(path).subarray(0, 512), Buffer.alloc(512));
    gate.renewLease(FOREVER_NS);
    t.true(gate.hasLease);
    t.is(guest.wait(2).length, 2);
    t.deepEqual(readFileSync(path).subarray(512, 1024), pattern(512, 2));
  }),
);

test.serial(
  'a lease ends by itself, an older renewal does not shorten it, and no lease is needed once none is required',
  onStand(async (t, stand) => {
    const { guest, driver, device } = stand.openDisk({ target: { path: diskFile(stand) } });
    const { gate } = stand;
    gate.requireLease(true);
    const until1 = bootTimeNs() + 200_000_000n;
    gate.renewLease(until1);
    gate.renewLease(until1 - 150_000_000n);
    t.is(guest.write(0, pattern(512, 1)), VIRTIO_BLK_S_OK);
    await until(() => !gate.hasLease, 'the lease ends');
    guest.offer(VIRTIO_BLK_T_OUT, 1, { data: pattern(512, 2) });
    driver.kick();
    await until(() => device.pending()[0]?.held === true, 'it is held');
    gate.requireLease(false);
    t.is(guest.wait(1)[0]!.status, VIRTIO_BLK_S_OK);
  }),
);

test.serial(
  'once its lease was ended a gate lets nothing out that is here still, released or not, whatever is renewed',
  onStand(async (t, stand) => {
    const path = diskFile(stand);
    const { guest, driver, device } = stand.openDisk({ target: { path } });
    const { gate } = stand;
    gate.requireLease(true);
    gate.close();
    guest.offer(VIRTIO_BLK_T_OUT, 0, { data: pattern(512, 1) });
    driver.kick();
    await until(() => device.pending()[0]?.held === true, 'it is held');
    gate.endLease();
    gate.release(gate.lastSequence);
    gate.renewLease(FOREVER_NS);
    t.false(gate.hasLease);
    t.is(guest.read(5, 512).status, VIRTIO_BLK_S_OK); // tells that the device has looked
    t.is(device.pending().length, 1);
    t.deepEqual(readFileSync(path).subarray(0, 512), Buffer.alloc(512));
    // The handover came to nothing: the domain runs on unprotected.
    gate.requireLease(false);
    t.is(guest.wait(1)[0]!.status, VIRTIO_BLK_S_OK);
  }),
);

test.serial(
  'a guest that offers more than a cut may have to copy waits for a release, and loses nothing',
  onStand(async (t, stand) => {
    const path = stand.file('disk.img');
    writeFileSync(path, '');
    truncateSync(path, 64 << 20);
    const { driver, device } = stand.openDisk({ target: { path } }, { slots: 1 });
    stand.gate.close();
    // Chains that name the same memory again and again: 30 MiB each, 64 MiB in all may be held, and one more.
    const header = { gpa: stand.ram.allocate(16), length: 16 };
    const status = { gpa: stand.ram.allocate(1), length: 1 };
    const data = { gpa: stand.ram.allocate(10 << 20, 4096), length: 10 << 20 };
    for (let i = 0; i < 6; i += 1) {
      stand.ram.slice(header.gpa, 4).writeUInt32LE(VIRTIO_BLK_T_OUT);
      driver.add([header, data, data, data], [status]);
    }
    driver.kick();
    await until(() => device.pending().length === 3, 'three are held');
    await setTimeout(50);
    t.is(device.pending().length, 3);
    stand.gate.open();
    t.is(driver.wait(6).length, 6);
    t.is(device.stats().writes, 6);
  }),
);
