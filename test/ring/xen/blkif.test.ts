import test from 'ava';
import { Blkif, BlockGuest, ENTRIES, EOPNOTSUPP, ERROR, OKAY } from './block-guest.js';

/** virtio-blk, as the disk sees it. */
const IN = 0;
const OUT = 1;
const FLUSH = 4;
const DISCARD = 11;
const S_OK = 0;
const S_IOERR = 1;
const S_UNSUPP = 2;
const HEADER_BYTES = 16;
/** RequestKind of addon/ring/ring_state.h. */
const KIND = { write: 1, flush: 2, discard: 3, zeroes: 4, frame: 5, read: 6 } as const;

function header(request: { readonly readable: Buffer }): { type: number; sector: bigint; data: Buffer } {
  return {
    type: request.readable.readUInt32LE(0),
    sector: request.readable.readBigUInt64LE(8),
    data: request.readable.subarray(HEADER_BYTES),
  };
}

test('a write carries the bytes of its sectors as they were when it was taken', (t) => {
  const guest = new BlockGuest();
  guest.page(3).fill(3);
  guest.page(4).fill(4);
  guest.offerTransfer(Blkif.WRITE, 77n, 5n, [
    [3, 7, 7],
    [4, 0, 1],
  ]);
  const request = guest.pop();
  guest.page(3).fill(9);
  t.like(header(request), { type: OUT, sector: 5n });
  t.deepEqual(header(request).data, Buffer.concat([Buffer.alloc(512, 3), Buffer.alloc(1024, 4)]));
  t.deepEqual(request.writable, [1]);
  guest.back.land(request.head, S_OK, 0);
  guest.back.answer(request.head);
  t.deepEqual(guest.answers(), [], 'nothing is seen before it is published');
  t.true(guest.back.publish());
  t.deepEqual(guest.answers(), [{ id: 77n, operation: Blkif.WRITE, status: OKAY }]);
});

test('a read lands in its sectors and nowhere else, before it is answered', (t) => {
  const guest = new BlockGuest();
  guest.offerTransfer(Blkif.READ, 1n, 9n, [
    [2, 1, 2],
    [5, 7, 7],
  ]);
  const request = guest.pop();
  t.like(header(request), { type: IN, sector: 9n });
  t.deepEqual(request.writable, [1536, 1]);
  t.true(guest.back.pages.every((octet) => octet === 0));
  guest.back.land(request.head, S_OK, 6);
  t.deepEqual([...guest.page(2)].map(Boolean).lastIndexOf(true), 1535);
  t.deepEqual([...guest.page(2)].map(Boolean).indexOf(true), 512);
  t.is([...guest.back.pages].filter((octet) => octet === 6).length, 1536);
});

test('a read that failed writes nothing to the guest', (t) => {
  const guest = new BlockGuest();
  guest.offerTransfer(Blkif.READ, 1n, 0n, [[2, 0, 7]]);
  guest.serve(S_IOERR, 6);
  t.deepEqual(guest.answers(), [{ id: 1n, operation: Blkif.READ, status: ERROR }]);
  t.true(guest.back.pages.every((octet) => octet === 0));
});

test('an indirect request is its segments, and its answer names what it does', (t) => {
  const guest = new BlockGuest(300);
  const segments = Array.from({ length: 256 }, (_, page) => [page + 1, 0, 7] as const);
  for (let page = 1; page <= 256; page += 1) guest.page(page).fill(page & 0xff);
  guest.offerIndirect(Blkif.WRITE, 5n, 8n, 299, segments);
  const request = guest.serve(S_OK);
  t.like(header(request), { type: OUT, sector: 8n });
  t.deepEqual(header(request).data, Buffer.from(guest.back.pages.subarray(4096, 257 * 4096)));
  t.deepEqual(guest.answers(), [{ id: 5n, operation: Blkif.WRITE, status: OKAY }]);
});

test('flushes and discards are theirs; a discard of much is several ranges', (t) => {
  const guest = new BlockGuest();
  guest.offerTransfer(Blkif.FLUSH, 1n, 0n, []);
  t.is(header(guest.serve(S_OK)).type, FLUSH);
  guest.offerDiscard(2n, 100n, (3n << 21n) + 8n);
  const { type, data } = header(guest.serve(S_OK));
  t.is(type, DISCARD);
  t.deepEqual(
    Array.from({ length: data.length / 16 }, (_, i) => [data.readBigUInt64LE(16 * i), data.readUInt32LE(16 * i + 8)]),
    [
      [100n, 1 << 21],
      [100n + (1n << 21n), 1 << 21],
      [100n + (2n << 21n), 1 << 21],
      [100n + (3n << 21n), 8],
    ],
  );
  t.deepEqual(
    guest.answers().map(({ operation, status }) => [operation, status]),
    [
      [Blkif.FLUSH, OKAY],
      [Blkif.DISCARD, OKAY],
    ],
  );
});

test('what no disk should see is answered with an error, and what comes behind it goes on', (t) => {
  const guest = new BlockGuest();
  const wrong: [string, () => void][] = [
    [
      'no segments',
      () => {
        guest.offerTransfer(Blkif.WRITE, 1n, 0n, []);
      },
    ],
    [
      '12 segments',
      () => {
        guest.offerTransfer(Blkif.READ, 1n, 0n, Array<[number, number, number]>(12).fill([0, 0, 7]));
      },
    ],
    [
      'the 9th sector',
      () => {
        guest.offerTransfer(Blkif.READ, 1n, 0n, [[0, 0, 8]]);
      },
    ],
    [
      'backwards',
      () => {
        guest.offerTransfer(Blkif.READ, 1n, 0n, [[0, 5, 4]]);
      },
    ],
    [
      'sector 255',
      () => {
        guest.offerTransfer(Blkif.WRITE, 1n, 0n, [[0, 255, 255]]);
      },
    ],
    [
      'a write of what is not granted',
      () => {
        guest.offerTransfer(Blkif.WRITE, 1n, 0n, [[0xffffffff, 0, 7]]);
      },
    ],
    [
      'a flush with data',
      () => {
        guest.offerTransfer(Blkif.FLUSH, 1n, 0n, [[0, 0, 7]]);
      },
    ],
    [
      'an indirect flush',
      () => {
        guest.offerIndirect(Blkif.FLUSH, 1n, 0n, 1, [[0, 0, 7]]);
      },
    ],
    [
      'an indirect indirect',
      () => {
        guest.offerIndirect(Blkif.INDIRECT, 1n, 0n, 1, [[0, 0, 7]]);
      },
    ],
    [
      'no indirect segments',
      () => {
        guest.offerIndirect(Blkif.READ, 1n, 0n, 1, []);
      },
    ],
    [
      '257 of them',
      () => {
        guest.offerIndirect(Blkif.READ, 1n, 0n, 1, Array<[number, number, number]>(257).fill([0, 0, 7]));
      },
    ],
    [
      'a secure discard',
      () => {
        guest.offerDiscard(1n, 0n, 8n, 1);
      },
    ],
    [
      'a discard of nothing',
      () => {
        guest.offerDiscard(1n, 0n, 0n);
      },
    ],
    [
      'a discard past every number',
      () => {
        guest.offerDiscard(1n, (1n << 64n) - 4n, 8n);
      },
    ],
    [
      'a discard of 2^64 sectors',
      () => {
        guest.offerDiscard(1n, 0n, (1n << 64n) - 1n);
      },
    ],
  ];
  for (const [what, offer] of wrong) {
    offer();
    const request = guest.serve(S_UNSUPP);
    t.is(header(request).type, 0xffffffff, what);
    t.deepEqual(request.writable, [1], what);
    t.deepEqual(
      guest.answers().map(({ status }) => status),
      [ERROR],
      what,
    );
  }
  guest.entry(4, 8n, 0n);
  guest.produce();
  guest.offerTransfer(Blkif.WRITE_BARRIER, 9n, 0n, [[0, 0, 7]]);
  guest.serve(S_UNSUPP);
  guest.serve(S_UNSUPP);
  t.deepEqual(
    guest.answers().map(({ status }) => status),
    [EOPNOTSUPP, EOPNOTSUPP],
  );
  guest.offerTransfer(Blkif.READ, 3n, 0n, [[0xffffffff, 0, 7]]);
  guest.serve(S_OK);
  t.deepEqual(guest.answers(), [{ id: 3n, operation: Blkif.READ, status: ERROR }], 'it has nowhere to land');
  guest.offerTransfer(Blkif.WRITE, 4n, 0n, [[1, 0, 7]]);
  guest.serve(S_OK);
  t.is(guest.answers()[0]?.status, OKAY);
});

test('a driver that claims more than its ring holds is told nothing more', (t) => {
  for (const claim of [ENTRIES + 1, 1000, 0x80000000, 0xffffffff]) {
    const guest = new BlockGuest();
    guest.produce(claim);
    t.regex(guest.back.pop() as string, /further ahead than the ring is long/, `${claim}`);
    t.regex(guest.back.pop() as string, /further ahead/);
  }
  // Room is counted from the answers, not from what was taken.
  const guest = new BlockGuest();
  for (let i = 0; i < ENTRIES; i += 1) guest.offerTransfer(Blkif.FLUSH, BigInt(i), 0n, []);
  for (let i = 0; i < ENTRIES; i += 1) guest.pop();
  t.is(guest.back.pop(), 'empty');
  guest.produce();
  t.regex(guest.back.pop() as string, /further ahead/);
});

test('answers come in any order, past 2^32, and the driver is called where it asked', (t) => {
  const guest = new BlockGuest(16, 0xfffffff0);
  let id = 0n;
  for (let round = 0; round < 40; round += 1) {
    const ids = Array.from({ length: 8 }, () => (id += 1n));
    for (const one of ids) guest.offerTransfer(Blkif.READ, one, one, [[Number(one) % 16, 0, 7]]);
    const heads = ids.map(() => guest.pop().head);
    for (const head of [...heads].reverse()) guest.back.land(head, S_OK, 1);
    for (const head of [...heads].reverse()) guest.back.answer(head);
    guest.askForCall(round % 2 === 0 ? 8 : 9);
    t.is(guest.back.publish(), round % 2 === 0);
    t.deepEqual(
      guest.answers().map((answer) => answer.id),
      [...ids].reverse(),
    );
  }
});

test('the driver is asked for an event before the back-end sleeps, unless there is something already', (t) => {
  const guest = new BlockGuest();
  t.false(guest.back.arm());
  t.is(guest.requestEvent, 1);
  guest.offerTransfer(Blkif.FLUSH, 1n, 0n, []);
  t.true(guest.back.arm());
  guest.serve(S_OK);
  t.false(guest.back.arm());
  t.is(guest.requestEvent, 2);
});

test('what is put back comes again', (t) => {
  const guest = new BlockGuest();
  for (const id of [1n, 2n, 3n]) guest.offerTransfer(Blkif.FLUSH, id, id, []);
  guest.pop();
  guest.pop();
  guest.back.unpop(1);
  guest.serve(S_OK);
  guest.serve(S_OK);
  t.deepEqual(
    guest.answers().map(({ id }) => id),
    [2n, 3n],
  );
});

test('a ring in flight goes on elsewhere: reads land by their grants, and answers have their names', (t) => {
  const guest = new BlockGuest();
  guest.offerTransfer(Blkif.WRITE, 10n, 0n, [[1, 0, 7]]);
  guest.offerTransfer(Blkif.READ, 11n, 0n, [
    [2, 3, 4],
    [3, 0, 7],
  ]);
  guest.offerTransfer(Blkif.READ, 12n, 0n, [[4, 0, 7]]);
  const [write, read, done] = [guest.pop().head, guest.pop().head, guest.pop().head];
  guest.back.land(done, S_OK, 5);
  const pending = guest.back.describe(read);
  t.deepEqual(pending, {
    token: 11n,
    writable: [
      [2n * 4096n + 1536n, 1024],
      [3n * 4096n, 4096],
    ],
  });
  t.deepEqual(guest.back.describe(write), { token: 10n, writable: [] });
  const kept = guest.back.describeKept(done);
  t.deepEqual(kept, { head: done, operation: Blkif.READ, written: S_OK, token: 12n });
  t.is(guest.back.stop(), 3);

  // The same memory on another host; another back-end.
  guest.back.adopt({ head: write, kind: KIND.write, ...guest.back.describe(write) });
  guest.back.adopt({ head: read, kind: KIND.read, ...pending });
  guest.back.adoptKept(kept);
  guest.back.start(3);
  guest.back.answer(done);
  guest.back.land(read, S_OK, 8);
  guest.back.answer(read);
  guest.back.land(write, S_IOERR, 0);
  guest.back.answer(write);
  guest.back.publish();
  t.deepEqual(guest.answers(), [
    { id: 12n, operation: Blkif.READ, status: OKAY },
    { id: 11n, operation: Blkif.READ, status: OKAY },
    { id: 10n, operation: Blkif.WRITE, status: ERROR },
  ]);
  t.is([...guest.page(2)].filter((octet) => octet === 8).length, 1024);
  t.true(guest.page(3).every((octet) => octet === 8));
  t.is(guest.back.pop(), 'empty');
});

test('a checkpoint that no ring can have is refused', (t) => {
  const token = 1n;
  const wrong: [RegExp, (guest: BlockGuest) => void][] = [
    [
      /no block driver/,
      ({ back }) => {
        back.adopt({ head: 0, kind: KIND.zeroes, token, writable: [] });
      },
    ],
    [
      /no block driver/,
      ({ back }) => {
        back.adopt({ head: 0, kind: KIND.frame, token, writable: [] });
      },
    ],
    [
      /at 32 of a ring of 32/,
      ({ back }) => {
        back.adopt({ head: 32, kind: KIND.flush, token, writable: [] });
      },
    ],
    [
      /0 pieces to read/,
      ({ back }) => {
        back.adopt({ head: 0, kind: KIND.read, token, writable: [] });
      },
    ],
    [
      /1 pieces to read/,
      ({ back }) => {
        back.adopt({ head: 0, kind: KIND.write, token, writable: [[0n, 512]] });
      },
    ],
    [
      /no part of a granted/,
      ({ back }) => {
        back.adopt({ head: 0, kind: KIND.read, token, writable: [[512n, 4096]] });
      },
    ],
    [
      /no part of a granted/,
      ({ back }) => {
        back.adopt({ head: 0, kind: KIND.read, token, writable: [[1n << 44n, 512]] });
      },
    ],
    [/has 1 requests without an answer, 0 are known/, () => undefined],
  ];
  for (const [why, adopt] of wrong) {
    const guest = new BlockGuest();
    guest.offerTransfer(Blkif.FLUSH, 1n, 0n, []);
    guest.pop();
    guest.back.stop();
    adopt(guest);
    t.throws(
      () => {
        guest.back.start(1);
      },
      { code: 'KEMARI_RING_STATE', message: why },
    );
  }
});
