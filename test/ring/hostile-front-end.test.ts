import { closeSync, openSync } from 'node:fs';
import test from 'ava';
import { testing } from '../native/testing.js';
import { DiskGuest, pattern, VIRTIO_BLK_S_OK } from './disk-guest.js';
import type { SplitDriver } from './driver.js';
import { type FrontEnd, inflightPayload } from './front-end.js';
import { GuestRam, type Region } from './guest-ram.js';
import { besideOthers, diskFile } from './hostile.js';
import { BLK_FEATURES, eventOf, type Stand } from './stand.js';
import { encode, FLAG_REPLY, FLAG_VERSION, Request, u32, u64, VRING_NO_FD } from './vhost-user.js';

interface Attack {
  readonly claim: string;
  /** Runs on a connection that has negotiated and set its memory, with a driver for queue 0 that is not started yet. */
  readonly run: (frontEnd: FrontEnd, driver: SplitDriver, stand: Stand) => void;
}

const MAX_QUEUES_ASKED = 65_535;

function message(claim: string, request: number, payload: Uint8Array, fds: readonly number[] = []): Attack {
  return {
    claim,
    run: (frontEnd) => {
      frontEnd.raw(encode(request, payload), fds);
    },
  };
}

function table(claim: string, change: (low: Region, high: Region) => readonly Region[]): Attack {
  return {
    claim,
    run: (frontEnd, _driver, stand) => {
      const regions = change(stand.ram.regions[0]!, stand.ram.regions[1]!);
      const payload = Buffer.concat([
        u32(regions.length, 0),
        ...regions.map((region) => u64(region.gpa, region.sizeBytes, region.frontEndAddress, region.fileOffset)),
      ]);
      const fds = regions.map(() => stand.ram.fd);
      frontEnd.raw(encode(Request.SET_MEM_TABLE, payload), fds);
    },
  };
}

/** Starts the queue with one of its messages changed: what is wrong shows at the latest when the ring starts. */
function ring(claim: string, change: (driver: SplitDriver, frontEnd: FrontEnd) => [number, Buffer]): Attack {
  return {
    claim,
    run: (frontEnd, driver) => {
      const [changed, bytes] = change(driver, frontEnd);
      const { ram } = driver;
      driver.kickAlways(); // a ring starts with its first kick
      const address = (gpa: number): bigint => ram.frontEndAddressOf(gpa);
      const addresses = u64(address(driver.descriptorGpa), address(driver.usedGpa), address(driver.availableGpa), 0n);
      const steps: [number, Buffer, number[]][] = [
        [Request.SET_VRING_NUM, u32(0, driver.size), []],
        [Request.SET_VRING_BASE, u32(0, 0), []],
        [Request.SET_VRING_ADDR, Buffer.concat([u32(0, 0), addresses]), []],
        [Request.SET_VRING_CALL, u64(0n), [driver.callFd]],
        [Request.SET_VRING_KICK, u64(0n), [driver.kickFd]],
        [Request.SET_VRING_ENABLE, u32(0, 1), []],
      ];
      for (const [request, payload, fds] of steps) {
        try {
          frontEnd.raw(encode(request, request === changed ? bytes : payload), fds);
        } catch (error) {
          if ((error as { errno?: number }).errno !== 32) throw error; // EPIPE: the back-end has had enough already
        }
      }
    },
  };
}

function addresses(change: { descriptor?: bigint; used?: bigint; available?: bigint }) {
  return (driver: SplitDriver): [number, Buffer] => {
    const at = (gpa: number): bigint => driver.ram.frontEndAddressOf(gpa);
    const { descriptor, used, available } = {
      descriptor: at(driver.descriptorGpa),
      used: at(driver.usedGpa),
      available: at(driver.availableGpa),
      ...change,
    };
    return [Request.SET_VRING_ADDR, Buffer.concat([u32(0, 0), u64(descriptor, used, available, 0n)])];
  };
}

const num = (size: number) => (): [number, Buffer] => [Request.SET_VRING_NUM, u32(0, size)];

/** The end of the low region as the front-end names it. */
const LOW_END = 0x5000_0000_0000n + BigInt(GuestRam.HALF);

const ATTACKS: readonly Attack[] = [
  ...[0, 3, 127, 2048, 32_768, 65_536, 0xffff_ffff].map((size) => ring(`a queue of size ${size}`, num(size))),
  ring('descriptors outside memory', addresses({ descriptor: LOW_END })),
  ring('descriptors across the end of memory', addresses({ descriptor: LOW_END - 16n })),
  ring('an avail ring outside memory', addresses({ available: 0x1234_0000n })),
  ring('an avail ring across the end of memory', addresses({ available: LOW_END - 4n })),
  ring('a used ring outside memory', addresses({ used: 0n })),
  ring('a used ring across the end of memory', addresses({ used: LOW_END - 8n })),
  ring('a used ring at the top of the address space', addresses({ used: 0xffff_ffff_ffff_fffcn })),
  ring('misaligned descriptors', addresses({ descriptor: LOW_END - 65_536n + 8n })),
  ring('a misaligned avail ring', addresses({ available: LOW_END - 65_536n + 1n })),
  ring('a misaligned used ring', addresses({ used: LOW_END - 65_536n + 2n })),
  ...[1, 16, 255, 0xffff_ffff].flatMap((index) => [
    message(`SET_VRING_NUM of queue ${index}`, Request.SET_VRING_NUM, u32(index, 128)),
    message(`SET_VRING_BASE of queue ${index}`, Request.SET_VRING_BASE, u32(index, 0)),
    message(`GET_VRING_BASE of queue ${index}`, Request.GET_VRING_BASE, u32(index, 0)),
    message(`SET_VRING_ENABLE of queue ${index}`, Request.SET_VRING_ENABLE, u32(index, 1)),
    message(
      `SET_VRING_ADDR of queue ${index}`,
      Request.SET_VRING_ADDR,
      Buffer.concat([u32(index, 0), u64(0n, 0n, 0n, 0n)]),
    ),
  ]),
  ...[1, 16, 255].flatMap((index) =>
    [Request.SET_VRING_KICK, Request.SET_VRING_CALL, Request.SET_VRING_ERR].map((request) =>
      message(`request ${request} of queue ${index}`, request, u64(BigInt(index) | VRING_NO_FD)),
    ),
  ),
  table('a memory table whose regions overlap', (low) => [low, { ...low, gpa: low.gpa + 4096n }]),
  table('a memory table with the same region twice', (low) => [low, low]),
  table('a region that reaches past its file', (low) => [{ ...low, sizeBytes: 3n * low.sizeBytes }]),
  table('a region that begins past its file', (low) => [{ ...low, fileOffset: 4n * low.sizeBytes }]),
  table('a region whose offset wraps around', (low) => [{ ...low, fileOffset: 0xffff_ffff_ffff_f000n }]),
  table('a region whose addresses wrap around', (low) => [{ ...low, gpa: 0xffff_ffff_ffff_f000n }]),
  table('a region whose front-end addresses wrap around', (low) => [{ ...low, frontEndAddress: -4096n }]),
  table('a region of size 0', (low) => [{ ...low, sizeBytes: 0n }]),
  table('a region of the whole address space', (low) => [{ ...low, sizeBytes: 0xffff_ffff_ffff_ffffn }]),
  {
    claim: 'a memory table that says it has more regions than it has',
    run: (frontEnd, _driver, stand) => {
      frontEnd.raw(encode(Request.SET_MEM_TABLE, Buffer.concat([u32(8, 0), u64(0n, 4096n, 0n, 0n)])), [stand.ram.fd]);
    },
  },
  {
    claim: 'a memory table with fewer descriptors than regions',
    run: (frontEnd, _driver, stand) => {
      const payload = Buffer.concat([
        u32(2, 0),
        ...stand.ram.regions.map((region) =>
          u64(region.gpa, region.sizeBytes, region.frontEndAddress, region.fileOffset),
        ),
      ]);
      frontEnd.raw(encode(Request.SET_MEM_TABLE, payload), [stand.ram.fd]);
    },
  },
  {
    claim: 'a memory table whose descriptors are no files',
    run: (frontEnd, driver, stand) => {
      const { gpa, sizeBytes, frontEndAddress, fileOffset } = stand.ram.regions[0]!;
      const payload = Buffer.concat([u32(1, 0), u64(gpa, sizeBytes, frontEndAddress, fileOffset)]);
      frontEnd.raw(encode(Request.SET_MEM_TABLE, payload), [driver.kickFd]);
    },
  },
  ...[9, 64, 253].map((count) => ({
    claim: `${count} descriptors with one message`,
    run: (frontEnd: FrontEnd, driver: SplitDriver) => {
      frontEnd.raw(encode(Request.SET_VRING_KICK, u64(0n)), Array<number>(count).fill(driver.kickFd));
    },
  })),
  {
    claim: 'two descriptors where one belongs',
    run: (frontEnd, driver) => {
      frontEnd.raw(encode(Request.SET_VRING_CALL, u64(0n)), [driver.callFd, driver.callFd]);
    },
  },
  {
    claim: 'a descriptor where none belongs',
    run: (frontEnd, driver) => {
      frontEnd.raw(encode(Request.SET_VRING_NUM, u32(0, 128)), [driver.callFd]);
    },
  },
  message('a kick descriptor that is missing', Request.SET_VRING_KICK, u64(0n)),
  message('adding memory without its descriptor', Request.ADD_MEM_REG, u64(0n, 0n, 4096n, 0n, 0n)),
  message('removing memory that is not there', Request.REM_MEM_REG, u64(0n, 1n, 4096n, 0n, 0n)),
  message('an unknown request', 4711, u64(0n)),
  message('request 0', 0, u64(0n)),
  message('a payload that is too short', Request.SET_FEATURES, Buffer.alloc(7)),
  message('a payload that is too long', Request.SET_VRING_NUM, Buffer.alloc(64)),
  message('an empty payload where one is due', Request.SET_VRING_ADDR, Buffer.alloc(0)),
  message('features that were not offered', Request.SET_FEATURES, u64(0xffff_ffff_ffff_ffffn)),
  message('protocol features that were not offered', Request.SET_PROTOCOL_FEATURES, u64(0xffff_ffff_ffff_ffffn)),
  message('a base that is no index', Request.SET_VRING_BASE, u32(0, 0x1_0000)),
  message('in-flight tracking of no queue', Request.GET_INFLIGHT_FD, inflightPayload(0n, 0n, 0, 128)),
  message(
    'in-flight tracking of very many queues',
    Request.GET_INFLIGHT_FD,
    inflightPayload(0n, 0n, MAX_QUEUES_ASKED, 128),
  ),
  message('in-flight tracking of size 0', Request.GET_INFLIGHT_FD, inflightPayload(0n, 0n, 1, 0)),
  message('an in-flight area without its descriptor', Request.SET_INFLIGHT_FD, inflightPayload(4096n, 0n, 1, 128)),
  {
    claim: 'an in-flight area that is larger than its file',
    run: (frontEnd) => {
      const fd = testing.memoryFile('inflight', 64);
      frontEnd.raw(encode(Request.SET_INFLIGHT_FD, inflightPayload(1n << 40n, 0n, 1, 128)), [fd]);
      closeSync(fd);
    },
  },
  {
    claim: 'an in-flight area that is too small for its queues',
    run: (frontEnd) => {
      const fd = testing.memoryFile('inflight', 4096);
      frontEnd.raw(encode(Request.SET_INFLIGHT_FD, inflightPayload(64n, 0n, 1, 1024)), [fd]);
      closeSync(fd);
    },
  },
  ...(
    [
      ['the size', Request.SET_VRING_NUM, u32(0, 64)],
      ['the base', Request.SET_VRING_BASE, u32(0, 7)],
      ['the addresses', Request.SET_VRING_ADDR, Buffer.concat([u32(0, 0), u64(0n, 0n, 0n, 0n)])],
      ['features', Request.SET_FEATURES, u64(0n)],
    ] as const
  ).map(([what, request, payload]) => ({
    claim: `changing ${what} while a queue runs`,
    run: (frontEnd: FrontEnd, driver: SplitDriver) => {
      frontEnd.startQueue(driver);
      frontEnd.raw(encode(request, payload));
    },
  })),
  {
    claim: 'a message of another version',
    run: (frontEnd) => {
      frontEnd.raw(encode(Request.GET_FEATURES, Buffer.alloc(0), 2));
    },
  },
  {
    claim: 'a reply to nothing',
    run: (frontEnd) => {
      frontEnd.raw(encode(Request.GET_FEATURES, u64(0n), FLAG_VERSION | FLAG_REPLY));
    },
  },
  {
    claim: 'a payload that says it has 4 GiB',
    run: (frontEnd) => {
      frontEnd.raw(encode(Request.SET_MEM_TABLE, Buffer.alloc(0), FLAG_VERSION, 0xffff_ffff));
    },
  },
  {
    claim: 'a descriptor that cannot be watched as a kick',
    run: (frontEnd, driver) => {
      const fd = openSync('/proc/self/exe', 'r');
      frontEnd.startQueue(driver);
      frontEnd.raw(encode(Request.SET_VRING_KICK, u64(0n)), [fd]);
      closeSync(fd);
    },
  },
];

for (const { claim, run } of ATTACKS) {
  test.serial(
    `${claim} ends the connection with a reason, and nothing else`,
    besideOthers(async (t, stand) => {
      const { frontEnd, events } = stand.connectDisk(diskFile(stand, 'disk.img'));
      frontEnd.negotiate(BLK_FEATURES);
      frontEnd.setMemory();
      run(frontEnd, stand.driver(0), stand);
      const event = await eventOf(events, 'protocol-error');
      t.regex(event.code, /^KEMARI_/);
      t.true(event.text.length > 20, event.text);
      t.true(frontEnd.closedByPeer());
    }),
  );
}

/** What a front-end says, one message at a time, to set up a disk. */
const SET_UP: readonly ((frontEnd: FrontEnd, driver: SplitDriver) => void)[] = [
  (frontEnd) => {
    frontEnd.ask(Request.GET_FEATURES);
  },
  (frontEnd) => {
    frontEnd.negotiate();
  },
  (frontEnd) => {
    frontEnd.setMemory();
  },
  (frontEnd) => {
    closeSync(frontEnd.getInflight(1, 128).fd);
  },
  (frontEnd) => {
    const inflight = frontEnd.getInflight(1, 128);
    frontEnd.setInflight(inflight, 1, 128);
    closeSync(inflight.fd);
  },
  (frontEnd) => {
    frontEnd.send(Request.SET_VRING_NUM, u32(0, 128));
  },
  (frontEnd) => {
    frontEnd.send(Request.SET_VRING_BASE, u32(0, 0));
  },
  (frontEnd, driver) => {
    frontEnd.setAddresses(driver);
  },
  (frontEnd, driver) => {
    frontEnd.send(Request.SET_VRING_CALL, u64(0n), [driver.callFd]);
  },
  (frontEnd, driver) => {
    frontEnd.send(Request.SET_VRING_KICK, u64(0n), [driver.kickFd]);
  },
  (frontEnd) => {
    frontEnd.enable(0, true);
  },
];

for (let steps = 0; steps <= SET_UP.length; steps += 1) {
  test.serial(
    `a front-end that goes away after ${steps} of ${SET_UP.length} steps of the set-up is noticed and leaves nothing behind`,
    besideOthers(async (t, stand) => {
      const { frontEnd, events } = stand.connectDisk(diskFile(stand, 'disk.img'));
      const driver = stand.driver(0);
      for (const step of SET_UP.slice(0, steps)) step(frontEnd, driver);
      frontEnd.close();
      t.is((await eventOf(events, 'disconnected', 'protocol-error')).type, 'disconnected');
    }),
  );
}

for (const bytes of [1, 11, 12, 15]) {
  test.serial(
    `a message that ends after ${bytes} bytes, and with it the connection, is a protocol error`,
    besideOthers(async (t, stand) => {
      const { frontEnd, events } = stand.connectDisk(diskFile(stand, 'disk.img'));
      frontEnd.raw(encode(Request.SET_VRING_NUM, u32(0, 128)).subarray(0, bytes));
      frontEnd.close();
      const event = await eventOf(events, 'protocol-error', 'disconnected');
      t.is(event.type, 'protocol-error');
    }),
  );
}

test.serial(
  'a message in many pieces is a message',
  besideOthers((t, stand) => {
    const { frontEnd } = stand.connectDisk(diskFile(stand, 'disk.img'));
    for (const byte of encode(Request.GET_FEATURES, Buffer.alloc(0))) frontEnd.raw(Buffer.of(byte));
    t.not(frontEnd.reply(Request.GET_FEATURES).payload.readBigUInt64LE(), 0n);
  }),
);

test.serial(
  'many messages in one piece are many messages',
  besideOthers((t, stand) => {
    const { frontEnd } = stand.connectDisk(diskFile(stand, 'disk.img'));
    frontEnd.raw(Buffer.concat(Array<Buffer>(3).fill(encode(Request.GET_FEATURES, Buffer.alloc(0)))));
    const replies = Buffer.concat([...Array(3).keys()].flatMap(() => receiveAll(frontEnd, 20)));
    t.is(replies.length, 60);
  }),
);

function receiveAll(frontEnd: FrontEnd, bytes: number): Buffer[] {
  const parts: Buffer[] = [];
  for (let got = 0; got < bytes;) {
    const message = testing.receiveMessage(frontEnd.fd, bytes - got, 10_000);
    if (message === null || message.bytes.length === 0) throw new Error('a reply is missing');
    parts.push(message.bytes);
    got += message.bytes.length;
  }
  return parts;
}

test.serial(
  'a kick before the memory table and the addresses starts nothing; the queue works once the rest came',
  besideOthers((t, stand) => {
    const { frontEnd, events } = stand.connectDisk(diskFile(stand, 'disk.img'));
    frontEnd.negotiate(BLK_FEATURES);
    const driver = stand.driver(0);
    const guest = new DiskGuest(driver, 2);
    driver.kickAlways();
    frontEnd.send(Request.SET_VRING_KICK, u64(0n), [driver.kickFd]);
    frontEnd.ask(Request.GET_FEATURES); // a turn of the device's thread
    t.is(events.length, 0);
    frontEnd.setMemory();
    frontEnd.startQueue(driver);
    t.is(guest.write(1, pattern(512, 1)), VIRTIO_BLK_S_OK);
    t.is(driver.usedIndex, 1);
  }),
);

test.serial(
  'a configuration that is asked for beyond its end is answered as an error, not with other memory',
  besideOthers((t, stand) => {
    const { frontEnd } = stand.connectDisk(diskFile(stand, 'disk.img'));
    frontEnd.negotiate(BLK_FEATURES);
    const asked = Buffer.concat([u32(0, 256, 0), Buffer.alloc(256)]);
    const { payload } = frontEnd.ask(Request.GET_CONFIG, asked);
    const beyond = payload.subarray(12 + 60);
    t.true(beyond.every((byte) => byte === 0));
  }),
);
