import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import test, { type ExecutionContext } from 'ava';
import type { DiskOptions } from '../../src/native/addon.js';
import {
  DiskGuest,
  pattern,
  range,
  SECTOR_BYTES,
  VIRTIO_BLK_S_IOERR,
  VIRTIO_BLK_S_OK,
  VIRTIO_BLK_S_UNSUPP,
  VIRTIO_BLK_T_DISCARD,
  VIRTIO_BLK_T_GET_ID,
  VIRTIO_BLK_T_IN,
  VIRTIO_BLK_T_OUT,
} from './disk-guest.js';
import { startNbdkit } from './nbd.js';
import { BLK_FEATURES, eventOf, onStand, type Stand } from './stand.js';
import { Request } from './vhost-user.js';

const MIB = 1024 * 1024;
const DISK_BYTES = 16 * MIB;
const VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP = 1;

/** Every way in which bytes reach a disk. `open` gives the options of a fresh disk of DISK_BYTES. */
interface Way {
  readonly name: string;
  readonly open: (stand: Stand) => Promise<Partial<DiskOptions> & Pick<DiskOptions, 'target'>>;
}

function fileOf(stand: Stand): string {
  const path = stand.file('disk.img');
  writeFileSync(path, '');
  truncateSync(path, DISK_BYTES);
  return path;
}

const WAYS: readonly Way[] = [
  ...(['io_uring', 'threads'] as const).flatMap((engine) =>
    [false, true].map((direct) => ({
      name: `${engine}${direct ? ' with O_DIRECT' : ''}`,
      open: (stand: Stand) => Promise.resolve({ target: { path: fileOf(stand) }, engine, direct }),
    })),
  ),
  {
    name: 'NBD',
    open: async (stand) => ({ target: { nbdUri: await startNbdkit(stand, ['memory', `size=${DISK_BYTES}`]) } }),
  },
];

/** Runs a test once for each way, on a stand of its own. */
function forEachWay(claim: string, body: (t: ExecutionContext, way: Way, stand: Stand) => Promise<void> | void): void {
  for (const way of WAYS) {
    test.serial(
      `${way.name}: ${claim}`,
      onStand((t, stand) => body(t, way, stand)),
    );
  }
}

forEachWay('what was written is read back however the descriptors cut it', async (t, way, stand) => {
  const { guest } = stand.openDisk(await way.open(stand));
  const cuts = [[], [512], [1], [511, 2], [100, 412, 3, 509, 4096], [4095], [1, 1, 1, 1, 1, 1], [8192, 4096]];
  for (const [turn, writeCut] of cuts.entries()) {
    const data = pattern(16 * 1024, turn);
    t.is(guest.write(turn * 64, data, writeCut), VIRTIO_BLK_S_OK);
    for (const readCut of cuts) {
      const { status, data: back, usedBytes } = guest.read(turn * 64, data.length, readCut);
      t.is(status, VIRTIO_BLK_S_OK);
      t.deepEqual(back, data, `written in ${JSON.stringify(writeCut)}, read in ${JSON.stringify(readCut)}`);
      t.is(usedBytes, data.length + 1);
    }
  }
});

forEachWay('a chain of direct descriptors without EVENT_IDX works the same', async (t, way, stand) => {
  const { guest } = stand.openDisk(await way.open(stand), { indirect: false, eventIdx: false });
  const data = pattern(4096, 7);
  t.is(guest.write(8, data, [1000, 24]), VIRTIO_BLK_S_OK);
  t.deepEqual(guest.read(8, 4096, [3]).data, data);
});

forEachWay('data may share a descriptor with the header, and the status with the data', async (t, way, stand) => {
  const { driver } = stand.openDisk(await way.open(stand));
  const out = stand.ram.allocate(16 + 1024, 4096);
  stand.ram.slice(out, 16).writeUInt32LE(VIRTIO_BLK_T_OUT, 0);
  stand.ram.slice(out + 16, 1024).set(pattern(1024, 3));
  const status = stand.ram.allocate(1);
  driver.add([{ gpa: out, length: 16 + 1024 }], [{ gpa: status, length: 1 }]);
  driver.kick();
  driver.wait();
  t.is(stand.ram.bytes[status], VIRTIO_BLK_S_OK);
  stand.ram.slice(out, 16).writeUInt32LE(VIRTIO_BLK_T_IN, 0);
  const into = stand.ram.allocate(1024 + 1);
  stand.ram.bytes[into + 1024] = 0xee;
  driver.add([{ gpa: out, length: 16 }], [{ gpa: into, length: 1025 }]);
  driver.kick();
  driver.wait();
  t.is(stand.ram.bytes[into + 1024], VIRTIO_BLK_S_OK);
  t.deepEqual(Buffer.from(stand.ram.slice(into, 1024)), pattern(1024, 3));
});

forEachWay('a header in pieces is a header', async (t, way, stand) => {
  const { driver, guest } = stand.openDisk(await way.open(stand));
  t.is(guest.write(2, pattern(512, 5)), VIRTIO_BLK_S_OK);
  const header = stand.ram.allocate(16);
  stand.ram.slice(header, 16).writeUInt32LE(VIRTIO_BLK_T_IN, 0);
  stand.ram.slice(header, 16).writeBigUInt64LE(2n, 8);
  const into = stand.ram.allocate(513);
  driver.add(
    [
      { gpa: header, length: 3 },
      { gpa: header + 3, length: 12 },
      { gpa: header + 15, length: 1 },
    ],
    [{ gpa: into, length: 513 }],
  );
  driver.kick();
  driver.wait();
  t.is(stand.ram.bytes[into + 512], VIRTIO_BLK_S_OK);
  t.deepEqual(Buffer.from(stand.ram.slice(into, 512)), pattern(512, 5));
});

forEachWay('flush and GET_ID are answered', async (t, way, stand) => {
  const { guest } = stand.openDisk(await way.open(stand));
  t.is(guest.flush(), VIRTIO_BLK_S_OK);
  const id = guest.run(VIRTIO_BLK_T_GET_ID, 0, { read: 20 });
  t.is(id.status, VIRTIO_BLK_S_OK);
  t.is(id.data.toString('latin1').replace(/\0+$/, ''), 'kemari-test');
});

forEachWay('write zeroes reads back as zeroes, with and without unmap', async (t, way, stand) => {
  const { guest } = stand.openDisk(await way.open(stand));
  for (const flags of [0, VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP]) {
    t.is(guest.write(0, pattern(32 * 1024, 1)), VIRTIO_BLK_S_OK);
    t.is(guest.writeZeroes(1, 15, flags), VIRTIO_BLK_S_OK);
    const { data } = guest.read(0, 32 * 1024);
    const expected = pattern(32 * 1024, 1).fill(0, SECTOR_BYTES, 16 * SECTOR_BYTES);
    t.deepEqual(data, expected, `flags ${flags}`);
  }
});

forEachWay('a request past the end of the disk is an I/O error and changes nothing', async (t, way, stand) => {
  const { guest, device } = stand.openDisk(await way.open(stand));
  const end = DISK_BYTES / SECTOR_BYTES;
  t.is(guest.write(end - 1, pattern(1024, 1)), VIRTIO_BLK_S_IOERR);
  t.is(guest.read(end, 512).status, VIRTIO_BLK_S_IOERR);
  t.is(guest.run(VIRTIO_BLK_T_OUT, Number.MAX_SAFE_INTEGER, { data: pattern(512, 1) }).status, VIRTIO_BLK_S_IOERR);
  t.not(guest.discard(end - 1, 2), VIRTIO_BLK_S_OK);
  t.not(guest.writeZeroes(end - 1, 0xffffffff), VIRTIO_BLK_S_OK);
  t.deepEqual(guest.read(end - 1, 512).data, Buffer.alloc(512));
  t.is(device.stats().sizeBytes, DISK_BYTES);
});

forEachWay('a length that is no multiple of a sector is an I/O error', async (t, way, stand) => {
  const { guest } = stand.openDisk(await way.open(stand));
  t.is(guest.write(0, pattern(1000, 1)), VIRTIO_BLK_S_IOERR);
  t.is(guest.read(0, 1000).status, VIRTIO_BLK_S_IOERR);
});

for (const headerBytes of [0, 15]) {
  test.serial(
    `a request with ${headerBytes} bytes of header is an I/O error`,
    onStand((t, stand) => {
      const { driver, device } = stand.openDisk({ target: { path: fileOf(stand) } });
      const buffer = stand.ram.allocate(4096);
      const header = headerBytes === 0 ? [] : [{ gpa: buffer, length: headerBytes }];
      driver.add(header, [{ gpa: buffer + 512, length: 513 }]);
      driver.kick();
      driver.wait();
      t.is(stand.ram.bytes[buffer + 1024], VIRTIO_BLK_S_IOERR);
      t.deepEqual(device.pending(), []);
    }),
  );
}

forEachWay('an unknown request is answered as unsupported', async (t, way, stand) => {
  const { guest } = stand.openDisk(await way.open(stand));
  t.is(guest.run(77, 0, { read: 512 }).status, VIRTIO_BLK_S_UNSUPP);
  t.is(guest.read(0, 512).status, VIRTIO_BLK_S_OK);
});

forEachWay('a read-only disk reads and refuses every change', async (t, way, stand) => {
  const { guest, frontEnd } = stand.openDisk({ ...(await way.open(stand)), readOnly: true });
  t.not(frontEnd.features & (1n << 5n), 0n, 'VIRTIO_BLK_F_RO is offered');
  t.is(guest.read(0, 512).status, VIRTIO_BLK_S_OK);
  t.is(guest.write(0, pattern(512, 1)), VIRTIO_BLK_S_IOERR);
  t.not(guest.discard(0, 8), VIRTIO_BLK_S_OK);
  t.not(guest.writeZeroes(0, 8), VIRTIO_BLK_S_OK);
  t.deepEqual(guest.read(0, 512).data, Buffer.alloc(512));
});

forEachWay('a full queue of mixed requests is answered, each once and right', async (t, way, stand) => {
  const { guest, device } = stand.openDisk(await way.open(stand), { size: 64, slots: 64 });
  const sectors = 8;
  for (let round = 0; round < 20; round += 1) {
    for (let place = 0; place < 64; place += 1) {
      guest.offer(VIRTIO_BLK_T_OUT, place * sectors, { data: pattern(sectors * SECTOR_BYTES, round * 64 + place) });
    }
    guest.driver.kick();
    t.true(guest.wait(64).every((request) => request.status === VIRTIO_BLK_S_OK));
    const heads = new Map<number, number>();
    for (let place = 0; place < 64; place += 1) {
      const read = guest.offer(VIRTIO_BLK_T_IN, place * sectors, { read: sectors * SECTOR_BYTES });
      heads.set(read.head, place);
    }
    guest.driver.kick();
    for (const request of guest.wait(64)) {
      const place = heads.get(request.head)!;
      if (!request.data.equals(pattern(sectors * SECTOR_BYTES, round * 64 + place))) t.fail(`place ${place}`);
    }
  }
  const { reads, writes, readBytes, writtenBytes, errors, inFlight } = device.stats();
  t.deepEqual(
    { reads, writes, readBytes, writtenBytes, errors, inFlight },
    { reads: 1280, writes: 1280, readBytes: 1280 * 4096, writtenBytes: 1280 * 4096, errors: 0, inFlight: 0 },
  );
});

for (const engine of ['io_uring', 'threads'] as const) {
  test.serial(
    `${engine}: discard gives the file's blocks back`,
    onStand((t, stand) => {
      const path = fileOf(stand);
      const { guest } = stand.openDisk({ target: { path }, engine });
      for (let place = 0; place < 16; place += 1)
        t.is(guest.write(place * 128, pattern(64 * 1024, place)), VIRTIO_BLK_S_OK);
      t.is(guest.flush(), VIRTIO_BLK_S_OK);
      const before = statSync(path).blocks;
      t.true(before >= 2048);
      t.is(guest.discard(0, 1024), VIRTIO_BLK_S_OK);
      t.true(statSync(path).blocks <= before - 1024);
      t.is(statSync(path).size, DISK_BYTES);
    }),
  );

  test.serial(
    `${engine}: a file that shrinks underneath is an I/O error, not silence`,
    onStand(async (t, stand) => {
      const path = fileOf(stand);
      const { guest, device, events } = stand.openDisk({ target: { path }, engine });
      truncateSync(path, MIB);
      t.is(guest.read((4 * MIB) / SECTOR_BYTES, 4096).status, VIRTIO_BLK_S_IOERR);
      t.is(guest.read(0, 4096).status, VIRTIO_BLK_S_OK);
      t.is(device.stats().errors, 1);
      t.regex((await eventOf(events, 'io-error')).code, /^KEMARI_/);
    }),
  );

  test.serial(
    `${engine}: a full file system is an I/O error, and the disk goes on`,
    onStand(async (t, stand) => {
      const mount = stand.file('full');
      mkdirSync(mount);
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'kemari-test', mount]);
      stand.onClose(() => {
        execFileSync('umount', [mount]); // after the disk, which was opened later, is closed
      });
      const path = `${mount}/disk.img`;
      writeFileSync(path, '');
      truncateSync(path, DISK_BYTES);
      const { guest, events } = stand.openDisk({ target: { path }, engine });
      const statuses = Array.from({ length: 32 }, (_, place) => guest.write(place * 128, pattern(64 * 1024, place)));
      t.true(statuses.includes(VIRTIO_BLK_S_OK));
      t.is(statuses.at(-1), VIRTIO_BLK_S_IOERR);
      t.regex((await eventOf(events, 'io-error')).code, /^KEMARI_/);
      t.deepEqual(guest.read(0, 64 * 1024).data, pattern(64 * 1024, 0));
    }),
  );
}

test.serial(
  'a disk that may not discard does not offer it and refuses it',
  onStand((t, stand) => {
    const path = fileOf(stand);
    const { guest, frontEnd } = stand.openDisk({ target: { path }, discard: false });
    t.is(frontEnd.features & (1n << 13n), 0n);
    t.is(guest.write(0, pattern(4096, 1)), VIRTIO_BLK_S_OK);
    t.not(guest.discard(0, 8), VIRTIO_BLK_S_OK);
    t.deepEqual(readFileSync(path).subarray(0, 4096), pattern(4096, 1));
  }),
);

test.serial(
  'several discards in one request are all done, unknown flags are unsupported',
  onStand((t, stand) => {
    const path = fileOf(stand);
    const { guest } = stand.openDisk({ target: { path } });
    t.is(guest.write(0, pattern(64 * 1024, 1)), VIRTIO_BLK_S_OK);
    t.is(guest.run(VIRTIO_BLK_T_DISCARD, 0, { data: range(0, 8, 0x80) }).status, VIRTIO_BLK_S_UNSUPP);
    t.is(guest.discard(0, 8, 1), VIRTIO_BLK_S_UNSUPP, 'unmap means nothing in a discard (virtio 1.2 section 5.2.6.2)');
    t.is(guest.discard(0, 8), VIRTIO_BLK_S_OK);
    t.not(guest.run(VIRTIO_BLK_T_DISCARD, 0, { data: range(0, 8, 0).subarray(0, 15) }).status, VIRTIO_BLK_S_OK);
  }),
);

test.serial(
  'the configuration space tells the size and the limits',
  onStand((t, stand) => {
    const { frontEnd } = stand.openDisk({ target: { path: fileOf(stand) }, queues: 4 });
    const config = frontEnd.getConfig(0, 36);
    t.is(config.readBigUInt64LE(0), BigInt(DISK_BYTES / SECTOR_BYTES));
    t.is(config.readUInt16LE(34), 4, 'num_queues');
    t.true(config.readUInt32LE(12) > 0, 'seg_max');
  }),
);

test.serial(
  'several queues serve the same disk',
  onStand((t, stand) => {
    const { frontEnd } = stand.connectDisk({ target: { path: fileOf(stand) }, queues: 4 });
    frontEnd.negotiate(BLK_FEATURES);
    frontEnd.setMemory();
    t.is(frontEnd.ask(Request.GET_QUEUE_NUM).payload.readBigUInt64LE(), 4n);
    const guests = [0, 1, 2, 3].map((index) => {
      const driver = stand.driver(index);
      frontEnd.startQueue(driver);
      return new DiskGuest(driver, 8);
    });
    guests.forEach((guest, index) => {
      t.is(guest.write(index * 8, pattern(4096, index)), VIRTIO_BLK_S_OK);
    });
    guests.forEach((guest, index) => {
      const other = (index + 1) % 4;
      t.deepEqual(guest.read(other * 8, 4096).data, pattern(4096, other));
    });
  }),
);

test.serial(
  'a disk that does not exist is refused by name',
  onStand((t, stand) => {
    const error = t.throws<Error & { code?: string }>(() =>
      stand.connectDisk({ target: { path: stand.file('none.img') } }),
    );
    t.regex(error.code ?? '', /^KEMARI_/);
    t.regex(error.message, /none\.img/);
  }),
);
