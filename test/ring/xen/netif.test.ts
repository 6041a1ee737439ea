import test from 'ava';
import { ENTRIES, ERROR, GSO, headers, NULL, OKAY, Receiver, Rx, Sender, Tx } from './network-guest.js';

const TCP = 6;
const UDP = 17;
const ICMP = 1;

/** A virtio-net header: flags, type and size of segments, and where a checksum is. */
function header(values: {
  readonly flags?: number;
  readonly gsoType?: number;
  readonly headerBytes?: number;
  readonly gsoSize?: number;
  readonly start?: number;
  readonly offset?: number;
  readonly buffers?: number;
}): Buffer {
  const bytes = Buffer.alloc(12);
  bytes.writeUInt8(values.flags ?? 0, 0);
  bytes.writeUInt8(values.gsoType ?? 0, 1);
  bytes.writeUInt16LE(values.headerBytes ?? 0, 2);
  bytes.writeUInt16LE(values.gsoSize ?? 0, 4);
  bytes.writeUInt16LE(values.start ?? 0, 6);
  bytes.writeUInt16LE(values.offset ?? 0, 8);
  bytes.writeUInt16LE(values.buffers ?? 0, 10);
  return bytes;
}

test('a frame carries the bytes of its pieces as they were when it was taken', (t) => {
  const guest = new Sender();
  guest.page(3).fill(3);
  guest.page(4).fill(4);
  guest.write({ ref: 3, offset: 100, size: 1300, flags: Tx.moreData, id: 7 });
  guest.write({ ref: 4, offset: 3096, size: 1000, id: 8 });
  const { head, header: before, frame } = guest.pop();
  guest.page(3).fill(9);
  t.deepEqual(before, header({}));
  t.deepEqual(frame, Buffer.concat([Buffer.alloc(300, 3), Buffer.alloc(1000, 4)]));
  guest.back.answer(head);
  t.deepEqual(guest.answers(), [], 'nothing is seen before it is published');
  t.true(guest.back.publish());
  t.deepEqual(guest.answers(), [
    [7, OKAY],
    [8, OKAY],
  ]);
});

test('a blank checksum is found behind the headers there are', (t) => {
  const cases = [
    { frame: headers(4, TCP), start: 34, offset: 16 },
    { frame: headers(4, UDP), start: 34, offset: 6 },
    { frame: headers(4, TCP, 8), start: 42, offset: 16 },
    { frame: headers(6, TCP), start: 54, offset: 16 },
    { frame: headers(6, UDP, 16), start: 70, offset: 6 },
  ];
  const guest = new Sender();
  for (const { frame, start, offset } of cases) {
    frame.copy(guest.page(1), 50);
    guest.write({ ref: 1, offset: 50, size: frame.length, flags: Tx.csumBlank | Tx.dataValidated });
    const popped = guest.pop();
    t.deepEqual(popped.header, header({ flags: 1, start, offset }));
    t.deepEqual(popped.frame, frame);
    guest.back.answer(popped.head);
  }
});

test('headers may lie in several pieces', (t) => {
  const guest = new Sender();
  const frame = headers(4, TCP);
  frame.copy(guest.page(1), 4086, 0, 10);
  frame.copy(guest.page(2), 0, 10);
  guest.write({ ref: 1, offset: 4086, size: frame.length, flags: Tx.csumBlank | Tx.moreData });
  guest.write({ ref: 2, offset: 0, size: frame.length - 10 });
  t.deepEqual(guest.pop().header, header({ flags: 1, start: 34, offset: 16 }));
});

test('segments are described to the host, and the entry of their description is answered with nothing', (t) => {
  const guest = new Sender();
  for (const [version, type, gsoType] of [
    [4, GSO.tcp4, 1],
    [6, GSO.tcp6, 4],
  ] as const) {
    const frame = headers(version, TCP);
    frame.copy(guest.page(1));
    guest.write({ ref: 1, offset: 0, size: 4096 + 4096, flags: Tx.csumBlank | Tx.moreData | Tx.extraInfo, id: 1 });
    guest.writeExtra(1448, type);
    guest.write({ ref: 2, offset: 0, size: 4096, id: 2 });
    const popped = guest.pop();
    const start = frame.length - 20;
    t.deepEqual(
      popped.header,
      header({ flags: 1, gsoType, headerBytes: frame.length, gsoSize: 1448, start, offset: 16 }),
    );
    t.is(popped.frame.length, 8192);
    guest.back.answer(popped.head);
    guest.back.publish();
    t.deepEqual(
      guest.answers().map(([id, status]) => (status === NULL ? 'nothing' : [id, status])),
      [[1, OKAY], 'nothing', [2, OKAY]],
    );
  }
});

test('what no host should see is answered with an error, and what comes behind it goes on', (t) => {
  const wrong: [string, (guest: Sender) => void][] = [
    [
      'a page that is not granted',
      (guest) => {
        guest.write({ ref: 0xffffffff, offset: 0, size: 60 });
      },
    ],
    [
      'shorter than an Ethernet header',
      (guest) => {
        guest.write({ ref: 1, offset: 0, size: 13 });
      },
    ],
    [
      'nothing',
      (guest) => {
        guest.write({ ref: 1, offset: 0, size: 0 });
      },
    ],
    [
      'a blank checksum of no protocol that has one',
      (guest) => {
        headers(4, ICMP).copy(guest.page(1));
        guest.write({ ref: 1, offset: 0, size: 60, flags: Tx.csumBlank });
      },
    ],
    [
      'a blank checksum of a fragment',
      (guest) => {
        const frame = headers(4, UDP);
        frame[20] = 0x20;
        frame.copy(guest.page(1));
        guest.write({ ref: 1, offset: 0, size: 60, flags: Tx.csumBlank });
      },
    ],
    [
      'a blank checksum behind the frame',
      (guest) => {
        headers(4, TCP).copy(guest.page(1));
        guest.write({ ref: 1, offset: 0, size: 40, flags: Tx.csumBlank });
      },
    ],
    [
      'segments with a checksum',
      (guest) => {
        headers(4, TCP).copy(guest.page(1));
        guest.write({ ref: 1, offset: 0, size: 60, flags: Tx.extraInfo });
        guest.writeExtra(1448, GSO.tcp4);
      },
    ],
    [
      'segments of no size',
      (guest) => {
        headers(4, TCP).copy(guest.page(1));
        guest.write({ ref: 1, offset: 0, size: 60, flags: Tx.extraInfo | Tx.csumBlank });
        guest.writeExtra(0, GSO.tcp4);
      },
    ],
    [
      'segments of another protocol',
      (guest) => {
        headers(4, TCP).copy(guest.page(1));
        guest.write({ ref: 1, offset: 0, size: 60, flags: Tx.extraInfo | Tx.csumBlank });
        guest.writeExtra(1448, GSO.tcp6);
      },
    ],
    [
      'a multicast filter, which nobody offered',
      (guest) => {
        guest.write({ ref: 1, offset: 0, size: 60, flags: Tx.extraInfo });
        guest.writeExtra(0, 0, 2);
      },
    ],
  ];
  const guest = new Sender();
  for (const [what, write] of wrong) {
    guest.page(1).fill(0);
    write(guest);
    guest.page(2).fill(2);
    guest.write({ ref: 2, offset: 0, size: 60, id: 2 });
    const refused = guest.pop();
    t.is(refused.frame.length, 0, what);
    guest.back.answer(refused.head);
    const next = guest.pop();
    t.deepEqual(next.frame, Buffer.alloc(60, 2), what);
    guest.back.answer(next.head);
    guest.back.publish();
    const answers = guest.answers();
    t.is(answers[0]?.[1], ERROR, what);
    t.deepEqual(answers.at(-1), [2, OKAY], what);
  }
});

test('a driver that breaks the rules of its ring is told nothing more', (t) => {
  const page = { ref: 1, offset: 0 };
  const wrong: [RegExp, (guest: Sender) => void][] = [
    [
      /further ahead than the ring is long/,
      (guest) => {
        guest.produce(ENTRIES + 1);
      },
    ],
    [
      /ends with the ring/,
      (guest) => {
        guest.write({ ...page, size: 60, flags: Tx.moreData });
      },
    ],
    [
      /ends with the ring/,
      (guest) => {
        guest.write({ ...page, size: 60, flags: Tx.extraInfo });
      },
    ],
    [
      /longer than the frame/,
      (guest) => {
        guest.write({ ...page, size: 60, flags: Tx.moreData });
        guest.write({ ...page, size: 61 });
      },
    ],
    [
      /over its page's end, to 4097/,
      (guest) => {
        guest.write({ ref: 1, offset: 4037, size: 60 });
      },
    ],
    [
      /over its page's end/,
      (guest) => {
        guest.write({ ...page, size: 65535 });
      },
    ],
    [
      /more than 20 entries/,
      (guest) => {
        for (let i = 0; i < 21; i += 1) guest.write({ ...page, size: i === 0 ? 2000 : 1, flags: Tx.moreData });
      },
    ],
    [
      /more than 20 entries/,
      (guest) => {
        guest.write({ ...page, size: 60, flags: Tx.extraInfo });
        for (let i = 0; i < 30; i += 1) guest.writeExtra(1, 1, 1, 1);
      },
    ],
    [
      /extra info of type 6/,
      (guest) => {
        guest.write({ ...page, size: 60, flags: Tx.extraInfo });
        guest.writeExtra(1, 1, 6);
      },
    ],
  ];
  for (const [why, write] of wrong) {
    const guest = new Sender();
    guest.write({ ref: 2, offset: 0, size: 60 });
    write(guest);
    // What came before it is whole; where the ring itself lies, nothing is.
    const first = guest.back.pop();
    t.regex(typeof first === 'string' ? first : (guest.back.pop() as string), why);
    t.regex(guest.back.pop() as string, why);
  }
});

test('frames that were copied and not looked at are taken again after a stop', (t) => {
  const guest = new Sender(0xfffffff0);
  for (let id = 0; id < 100; id += 1) guest.write({ ref: 1, offset: id, size: 60, id });
  const first = guest.pop();
  guest.back.answer(first.head);
  guest.back.publish();
  guest.back.stop();
  guest.page(1).fill(5);
  guest.back.start();
  for (let id = 1; id < 100; id += 1) {
    const { head, frame } = guest.pop();
    t.deepEqual(frame, Buffer.alloc(60, 5));
    guest.back.answer(head);
  }
  t.is(guest.back.pop(), 'empty');
  guest.back.publish();
  t.deepEqual(
    guest.answers().map(([id]) => id),
    Array.from({ length: 100 }, (_, id) => id),
  );
});

test('a frame lands in the pages that the driver gave, in their order, as it is published', (t) => {
  const guest = new Receiver();
  for (const ref of [5, 6, 7]) guest.offer(ref);
  const [first, second] = guest.pop(2);
  guest.back.land(first!, Buffer.concat([header({ flags: 1, buffers: 2 }), Buffer.alloc(4084, 1)]));
  guest.back.land(second!, Buffer.alloc(100, 2));
  t.true(guest.back.pages.every((octet) => octet === 0));
  t.deepEqual(guest.answers(), []);
  t.true(guest.back.publish());
  t.deepEqual(guest.answers(), [
    { id: 0, offset: 0, flags: Rx.csumBlank | Rx.dataValidated | Rx.moreData, status: 4084 },
    { id: 1, offset: 0, flags: 0, status: 100 },
  ]);
  t.deepEqual(guest.page(5).subarray(0, 4084), Buffer.alloc(4084, 1));
  t.deepEqual(guest.page(6).subarray(0, 101), Buffer.concat([Buffer.alloc(100, 2), Buffer.alloc(1)]));
});

test('a description of segments takes the entry behind the first, and the data goes on behind that', (t) => {
  const guest = new Receiver({ segments: true });
  for (const ref of [5, 6, 7, 8]) guest.offer(ref);
  const [first, second] = guest.pop(2);
  t.is(guest.back.pop(), 'empty', 'each frame may need an entry more');
  guest.back.land(
    first!,
    Buffer.concat([header({ flags: 1, gsoType: 1, gsoSize: 1448, buffers: 2 }), Buffer.alloc(4084, 1)]),
  );
  guest.back.land(second!, Buffer.alloc(9, 2));
  guest.back.publish();
  t.deepEqual(guest.answers(), [
    { id: 0, offset: 0, flags: Rx.csumBlank | Rx.dataValidated | Rx.moreData | Rx.extraInfo, status: 4084 },
    Buffer.from([1, 0, 1448 & 0xff, 1448 >> 8, GSO.tcp4, 0, 0, 0]),
    { id: 2, offset: 0, flags: 0, status: 9 },
  ]);
  t.is(guest.page(6)[0], 0);
  t.is(guest.page(7)[0], 2);
});

test('a page that cannot be written is an error of its own, and what comes behind it arrives', (t) => {
  const guest = new Receiver();
  guest.offer(0xffff);
  guest.offer(3);
  for (const head of guest.pop(2)) {
    guest.back.land(head, Buffer.concat([header({ buffers: 1 }), Buffer.alloc(60, 1)]));
  }
  guest.back.publish();
  t.deepEqual(
    guest.answers().map((answer) => (answer as { status: number }).status),
    [ERROR, 60],
  );
});

test('buffers that were put back come again, after a stop too', (t) => {
  const guest = new Receiver({ segments: true, at: 0xfffffffe });
  for (let ref = 0; ref < 8; ref += 1) guest.offer(ref);
  guest.pop(4);
  guest.back.unpop(4);
  t.is(guest.back.stop(), 0xfffe);
  guest.back.start();
  const [head] = guest.pop(1);
  guest.back.land(head!, Buffer.concat([header({ buffers: 1 }), Buffer.alloc(60, 7)]));
  guest.back.publish();
  t.deepEqual(guest.answers(), [{ id: 254, offset: 0, flags: 0, status: 60 }]);
  t.is(guest.page(0)[59], 7);
});

test('the driver is asked to tell of more buffers where those that there are do not suffice', (t) => {
  const guest = new Receiver({ segments: true });
  t.false(guest.back.arm());
  t.is(guest.requestEvent, 1);
  guest.offer(1);
  t.false(guest.back.arm(), 'a frame with segments would not fit');
  t.is(guest.requestEvent, 2);
  guest.offer(2);
  t.true(guest.back.arm());
  t.is(guest.pop(1).length, 1);
});

test('a driver that claims more buffers than its ring holds is told nothing more', (t) => {
  for (const claim of [ENTRIES + 1, 0x80000000, 0xffffffff]) {
    const guest = new Receiver();
    guest.produce(claim);
    t.regex(guest.back.pop() as string, /further ahead than the ring is long/, `${claim}`);
  }
});

test('a ring with something that nobody knows of is not started', (t) => {
  const guest = new Sender();
  guest.write({ ref: 1, offset: 0, size: 60 });
  guest.pop();
  guest.back.stop();
  t.throws(
    () => {
      guest.back.start(1);
    },
    { code: 'KEMARI_RING_STATE', message: /1 requests without an answer, 0 are known/ },
  );
});
