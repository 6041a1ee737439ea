import test from 'ava';
import {
  DiskGuest,
  pattern,
  VIRTIO_BLK_S_IOERR,
  VIRTIO_BLK_S_OK,
  VIRTIO_BLK_T_IN,
  VIRTIO_BLK_T_OUT,
} from './disk-guest.js';
import { type SplitDriver, VIRTQ_DESC_F_INDIRECT, VIRTQ_DESC_F_NEXT, VIRTQ_DESC_F_WRITE } from './driver.js';
import { GuestRam } from './guest-ram.js';
import { besideOthers, diskFile } from './hostile.js';
import { eventOf } from './stand.js';
import { until } from './until.js';

const { HALF } = GuestRam;
const BUFFER_GPA = 0x100_0000; // well inside memory, used by no one
const TABLE_GPA = 0x110_0000;

interface Attack {
  readonly claim: string;
  readonly ring?: { size?: number; indirect?: boolean };
  readonly run: (driver: SplitDriver) => void;
}

/** Descriptor `position` of the queue: `next` undefined ends the chain. */
function put(
  driver: SplitDriver,
  position: number,
  address: number | bigint,
  length: number,
  next?: number,
  flags = 0,
): void {
  const chained = next === undefined ? 0 : VIRTQ_DESC_F_NEXT;
  driver.writeDescriptor(position, { address: BigInt(address), length, flags: flags | chained, next: next ?? 0 });
}

/** An indirect table at TABLE_GPA with these descriptors, and head 0 that points to it. */
function putIndirect(driver: SplitDriver, length: number, headFlags = 0): void {
  put(driver, 0, TABLE_GPA, length, undefined, VIRTQ_DESC_F_INDIRECT | headFlags);
}

function inTable(
  driver: SplitDriver,
  position: number,
  address: number,
  length: number,
  flags: number,
  next = 0,
): void {
  driver.writeDescriptorAt(TABLE_GPA + 16 * position, { address: BigInt(address), length, flags, next });
}

const ATTACKS: readonly Attack[] = [
  {
    claim: 'a descriptor that points to itself',
    run: (driver) => {
      put(driver, 0, BUFFER_GPA, 16, 0);
      driver.offer(0);
    },
  },
  {
    claim: 'a loop of descriptors',
    run: (driver) => {
      for (let i = 0; i < 8; i += 1) put(driver, i, BUFFER_GPA, 512, (i + 1) % 8);
      driver.offer(3);
    },
  },
  {
    claim: 'a chain that goes on outside the table',
    run: (driver) => {
      put(driver, 0, BUFFER_GPA, 16, 128);
      driver.offer(0);
    },
  },
  {
    claim: 'a head outside the table',
    run: (driver) => {
      driver.offer(128);
    },
  },
  {
    claim: 'a head of 65535',
    run: (driver) => {
      driver.offer(65_535);
    },
  },
  ...(
    [
      ['in the hole of memory', HALF + 4096, 16],
      ['past the end of all memory', GuestRam.HIGH_GPA + HALF, 16],
      ['across the end of a region', HALF - 8, 16],
      ['at the top of the address space', 0xffff_ffff_ffff_fff0n, 16],
      ['whose end wraps around', 0xffff_ffff_ffff_fff8n, 16],
      ['of nearly 4 GiB', BUFFER_GPA, 0xffff_ffff],
      ['that reaches from one region into the other', 16, 0xffff_f000],
    ] as const
  ).flatMap(([where, address, length]): Attack[] => [
    {
      claim: `a buffer ${where}`,
      run: (driver) => {
        put(driver, 0, address, length, 1);
        put(driver, 1, BUFFER_GPA, 512, undefined, VIRTQ_DESC_F_WRITE);
        driver.offer(0);
      },
    },
    {
      claim: `a writable buffer ${where}`,
      run: (driver) => {
        put(driver, 0, BUFFER_GPA, 16, 1);
        put(driver, 1, address, length, undefined, VIRTQ_DESC_F_WRITE);
        driver.offer(0);
      },
    },
    {
      claim: `an indirect table ${where}`,
      run: (driver) => {
        put(driver, 0, address, length & ~15, undefined, VIRTQ_DESC_F_INDIRECT);
        driver.offer(0);
      },
    },
  ]),
  {
    claim: 'a readable descriptor after a writable one',
    run: (driver) => {
      put(driver, 0, BUFFER_GPA, 512, 1, VIRTQ_DESC_F_WRITE);
      put(driver, 1, BUFFER_GPA, 16);
      driver.offer(0);
    },
  },
  {
    claim: 'an indirect table whose length is no multiple of a descriptor',
    run: (driver) => {
      putIndirect(driver, 17);
      driver.offer(0);
    },
  },
  {
    claim: 'an indirect table of length 0',
    run: (driver) => {
      putIndirect(driver, 0);
      driver.offer(0);
    },
  },
  {
    claim: 'an indirect table in an indirect table',
    run: (driver) => {
      inTable(driver, 0, TABLE_GPA, 16, VIRTQ_DESC_F_INDIRECT);
      putIndirect(driver, 16);
      driver.offer(0);
    },
  },
  {
    claim: 'a loop inside an indirect table',
    run: (driver) => {
      inTable(driver, 0, BUFFER_GPA, 16, VIRTQ_DESC_F_NEXT, 1);
      inTable(driver, 1, BUFFER_GPA, 16, VIRTQ_DESC_F_NEXT, 0);
      putIndirect(driver, 32);
      driver.offer(0);
    },
  },
  {
    claim: 'an indirect table that goes on outside itself',
    run: (driver) => {
      inTable(driver, 0, BUFFER_GPA, 16, VIRTQ_DESC_F_NEXT, 2);
      putIndirect(driver, 32);
      driver.offer(0);
    },
  },
  {
    claim: 'a chain of more segments than any device takes',
    run: (driver) => {
      for (let i = 0; i < 4096; i += 1) inTable(driver, i, BUFFER_GPA, 16, VIRTQ_DESC_F_NEXT, i + 1);
      inTable(driver, 4096, BUFFER_GPA, 1, VIRTQ_DESC_F_WRITE);
      putIndirect(driver, 16 * 4097);
      driver.offer(0);
    },
  },
  {
    claim: 'a chain that names the same memory until it is huge',
    run: (driver) => {
      for (let i = 0; i < 64; i += 1) inTable(driver, i, 0, HALF, VIRTQ_DESC_F_NEXT, i + 1);
      inTable(driver, 64, BUFFER_GPA, 1, VIRTQ_DESC_F_WRITE);
      putIndirect(driver, 16 * 65);
      driver.offer(0);
    },
  },
  {
    claim: 'an indirect descriptor that was not negotiated',
    ring: { indirect: false },
    run: (driver) => {
      inTable(driver, 0, BUFFER_GPA, 16, 0);
      putIndirect(driver, 16);
      driver.offer(0);
    },
  },
  {
    claim: 'an avail index that jumps by more than the ring',
    run: (driver) => {
      driver.publish(129);
    },
  },
  {
    claim: 'an avail index that goes backwards',
    run: (driver) => {
      driver.publish(-1);
    },
  },
  {
    claim: 'a request without a place for its status',
    run: (driver) => {
      put(driver, 0, BUFFER_GPA, 16);
      driver.offer(0);
    },
  },
];

for (const { claim, ring, run } of ATTACKS) {
  test.serial(
    `${claim} breaks its queue, with a reason, and nothing else`,
    besideOthers(async (t, stand) => {
      const { events, driver, frontEnd, device } = stand.openDisk(diskFile(stand, 'disk.img'), { slots: 2, ...ring });
      run(driver);
      driver.kickAlways();
      const event = await eventOf(events, 'queue-broken');
      t.regex(event.code, /^KEMARI_/);
      t.true(event.text.length > 20, event.text);
      t.is(driver.usedIndex, 0);
      t.deepEqual(device.pending(), []);

      frontEnd.stopQueue(0);
      driver.reset();
      frontEnd.startQueue(driver);
      t.is(new DiskGuest(driver, 1).write(0, pattern(512, 1)), VIRTIO_BLK_S_OK, 'a reset queue serves again');
    }),
  );
}

test.serial(
  'a head that is offered again while the device has it breaks the queue',
  besideOthers(async (t, stand) => {
    const { events, driver, guest } = stand.openDisk(diskFile(stand, 'disk.img'), { slots: 4 });
    stand.gate.close();
    const { head } = guest.offer(VIRTIO_BLK_T_OUT, 0, { data: pattern(512, 1) });
    driver.offer(head);
    driver.kickAlways();
    t.regex((await eventOf(events, 'queue-broken')).code, /^KEMARI_/);
    stand.gate.open();
  }),
);

test.serial(
  'a broken queue leaves the device’s other queues running',
  besideOthers(async (t, stand) => {
    const { frontEnd, events } = stand.connectDisk({ ...diskFile(stand, 'disk.img'), queues: 2 });
    frontEnd.negotiate();
    frontEnd.setMemory();
    const [broken, good] = [0, 1].map((index) => {
      const driver = stand.driver(index);
      frontEnd.startQueue(driver);
      return driver;
    });
    broken!.offer(4000);
    broken!.kickAlways();
    await eventOf(events, 'queue-broken');
    const guest = new DiskGuest(good!, 2);
    t.is(guest.write(1, pattern(512, 1)), VIRTIO_BLK_S_OK);
  }),
);

test.serial(
  'descriptors and headers that change while they are processed never lead outside what was checked',
  besideOthers(async (t, stand) => {
    const { events, driver, frontEnd } = stand.openDisk(diskFile(stand, 'disk.img'), { indirect: false });
    const header = stand.ram.allocate(16);
    const status = stand.ram.allocate(1);
    const descriptor = stand.ram.offsetOf(driver.descriptorGpa);
    let answers = 0;
    let breaks = 0;
    for (let turn = 0; turn < 3000; turn += 1) {
      stand.ram.slice(header, 16).writeUInt32LE(turn % 2 === 0 ? VIRTIO_BLK_T_IN : VIRTIO_BLK_T_OUT, 0);
      put(driver, 0, header, 16, 1);
      put(driver, 1, BUFFER_GPA, 512, 2, turn % 2 === 0 ? VIRTQ_DESC_F_WRITE : 0);
      put(driver, 2, status, 1, undefined, VIRTQ_DESC_F_WRITE);
      driver.offer(0);
      driver.kickAlways();
      const breaksBefore = events.filter((event) => event.type === 'queue-broken').length;
      for (let flip = 0; flip < 40 && driver.usedIndex !== driver.availableIndex; flip += 1) {
        const bad = flip % 2 === 0;
        stand.ram.view.setBigUint64(descriptor + 16, bad ? BigInt(HALF + 8192) : BigInt(BUFFER_GPA), true);
        stand.ram.view.setUint32(descriptor + 24, bad ? 0xffff_fe00 : 512, true);
        stand.ram.view.setUint16(descriptor + 30, bad ? 1 : 2, true);
        stand.ram.view.setUint32(stand.ram.offsetOf(header), bad ? 0xffff_ffff : VIRTIO_BLK_T_IN, true);
      }
      const ended = (): boolean =>
        driver.usedIndex === driver.availableIndex ||
        events.filter((event) => event.type === 'queue-broken').length > breaksBefore;
      await until(ended, 'the request is answered or breaks the queue');
      if (driver.usedIndex === driver.availableIndex) {
        answers += 1;
        continue;
      }
      breaks += 1;
      frontEnd.stopQueue(0);
      driver.reset();
      frontEnd.startQueue(driver);
    }
    t.is(answers + breaks, 3000);
  }),
);

test.serial(
  'a length of data that overflows any sum is refused',
  besideOthers((t, stand) => {
    const { guest } = stand.openDisk(diskFile(stand, 'disk.img'));
    const last = 2 ** 52; // in sectors: in bytes it is more than any file has
    t.is(guest.write(last, pattern(512, 1)), VIRTIO_BLK_S_IOERR);
    t.is(guest.read(last, 512).status, VIRTIO_BLK_S_IOERR);
    t.is(guest.writeZeroes(last, 0xffff_ffff), VIRTIO_BLK_S_IOERR);
    t.is(guest.read(0, 512).status, VIRTIO_BLK_S_OK);
  }),
);
