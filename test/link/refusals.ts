import { lz4Page, octets, PART, RECORD, u32, type RecordWriter } from './records.js';

/** What a peer sends, after the first epoch. */
export type Attack = (write: RecordWriter) => Uint8Array[];
const page = Buffer.alloc(4096, 1);
/** What a standby refuses: what, with which code and text, and how it is made. */
export const REFUSALS: readonly (readonly [claim: string, code: `KEMARI_${string}`, text: RegExp, records: Attack])[] =
  [
    [
      'another version',
      'KEMARI_LINK_VERSION',
      /version 2 .* version 1/,
      (w) => [w.record(1, 2n, u32(2, 0), { version: 2 })],
    ],
    ['a wrong magic', 'KEMARI_LINK_PROTOCOL', /magic/, (w) => [w.record(1, 2n, u32(2, 0), { magic: 7 })]],
    ['a wrong checksum', 'KEMARI_LINK_CHECKSUM', /damaged/, (w) => [w.record(1, 2n, u32(2, 0), { checksum: 7 })]],
    [
      'a record that was repeated',
      'KEMARI_LINK_PROTOCOL',
      /number 1 came where 4/,
      (w) => [w.record(1, 2n, u32(2, 0), { number: 1n })],
    ],
    ['type 0', 'KEMARI_LINK_PROTOCOL', /type 0/, (w) => [w.record(0, 2n)]],
    ['type 0 that may be skipped', 'KEMARI_LINK_PROTOCOL', /type 0/, (w) => [w.record(0x8000, 2n)]],
    ['an unknown mandatory type', 'KEMARI_LINK_PROTOCOL', /unknown type 99/, (w) => [w.record(99, 2n)]],
    [
      'a length beyond the limit',
      'KEMARI_LINK_PROTOCOL',
      /at most 1048576/,
      (w) => [w.record(2, 2n, page, { length: 1048577 })],
    ],
    ['an epoch that skips one', 'KEMARI_LINK_PROTOCOL', /epoch 3 began after epoch 1/, (w) => [w.begin(3n)]],
    ['an epoch that comes again', 'KEMARI_LINK_PROTOCOL', /epoch 1 began after epoch 1/, (w) => [w.begin(1n)]],
    ['an epoch within an epoch', 'KEMARI_LINK_PROTOCOL', /within epoch 2/, (w) => [w.begin(2n), w.begin(3n)]],
    ['another number of devices', 'KEMARI_LINK_PROTOCOL', /3 devices, 2 were agreed/, (w) => [w.begin(2n, 3)]],
    ['a begin with unknown flags', 'KEMARI_LINK_PROTOCOL', /flags 2/, (w) => [w.record(1, 2n, u32(2, 2))]],
    [
      'pages without a begin',
      'KEMARI_LINK_PROTOCOL',
      /without its BEGIN/,
      (w) => [w.pages(2n, [{ page: 1, encoding: 2 }])],
    ],
    [
      'pages of another epoch',
      'KEMARI_LINK_PROTOCOL',
      /epoch 3 came within epoch 2/,
      (w) => [w.begin(2n), w.pages(3n, [{ page: 1, encoding: 2 }])],
    ],
    [
      'pages ahead after the first epoch',
      'KEMARI_LINK_PROTOCOL',
      /ahead after/,
      (w) => [w.pages(0n, [{ page: 1, encoding: 2 }])],
    ],
    [
      'a page outside memory',
      'KEMARI_LINK_PROTOCOL',
      /outside guest memory of 64/,
      (w) => [w.begin(2n), w.pages(2n, [{ page: 64, encoding: 2 }])],
    ],
    [
      'a run that ends outside memory',
      'KEMARI_LINK_PROTOCOL',
      /outside guest memory/,
      (w) => [w.begin(2n), w.pages(2n, [{ page: 60, count: 5, encoding: 2 }])],
    ],
    [
      'a page far outside memory',
      'KEMARI_LINK_PROTOCOL',
      /outside guest memory/,
      (w) => [w.begin(2n), w.pages(2n, [{ page: 2 ** 52, encoding: 2 }])],
    ],
    [
      'a page twice',
      'KEMARI_LINK_PROTOCOL',
      /page 5 came twice/,
      (w) => [
        w.begin(2n),
        w.pages(2n, [
          { page: 5, encoding: 2 },
          { page: 4, count: 2, encoding: 2 },
        ]),
      ],
    ],
    [
      'an entry without pages',
      'KEMARI_LINK_PROTOCOL',
      /names no page/,
      (w) => [w.begin(2n), w.pages(2n, [{ page: 5, count: 0, encoding: 2 }])],
    ],
    [
      'a reserved bit',
      'KEMARI_LINK_PROTOCOL',
      /reserved/,
      (w) => [w.begin(2n), w.pages(2n, [{ page: 5, encoding: 2, reserved: 1 }])],
    ],
    [
      'encoding 0',
      'KEMARI_LINK_PROTOCOL',
      /unknown encoding 0/,
      (w) => [w.begin(2n), w.pages(2n, [{ page: 5, encoding: 0 }])],
    ],
    [
      'an unknown encoding',
      'KEMARI_LINK_PROTOCOL',
      /unknown encoding 5/,
      (w) => [w.begin(2n), w.pages(2n, [{ page: 5, encoding: 5 }])],
    ],
    [
      'a raw page that is short',
      'KEMARI_LINK_PROTOCOL',
      /4095 bytes for 1 pages/,
      (w) => [w.begin(2n), w.pages(2n, [{ page: 5, encoding: 1, data: page.subarray(1) }])],
    ],
    [
      'a zero page with data',
      'KEMARI_LINK_PROTOCOL',
      /4096 bytes for 1 pages/,
      (w) => [w.begin(2n), w.pages(2n, [{ page: 5, encoding: 2, data: page }])],
    ],
    [
      'lz4 of two pages',
      'KEMARI_LINK_PROTOCOL',
      /for 2 pages/,
      (w) => [w.begin(2n), w.pages(2n, [{ page: 5, count: 2, encoding: 3, data: lz4Page(1) }])],
    ],
    [
      'lz4 that ends early',
      'KEMARI_LINK_PROTOCOL',
      /does not unpack/,
      (w) => [w.begin(2n), w.pages(2n, [{ page: 5, encoding: 3, data: lz4Page(1).subarray(0, -1) }])],
    ],
    [
      'lz4 of more than a page',
      'KEMARI_LINK_PROTOCOL',
      /does not unpack/,
      (w) => [
        w.begin(2n),
        w.pages(2n, [{ page: 5, encoding: 3, data: Buffer.concat([lz4Page(1).subarray(0, -1), lz4Page(1)]) }]),
      ],
    ],
    [
      'a delta that becomes another page',
      'KEMARI_LINK_DELTA',
      /not what the primary believes/,
      (w) => [w.begin(2n), w.pages(2n, [{ page: 1, encoding: 4, data: lz4Page(1) }], 5)],
    ],
    [
      'data that no entry names',
      'KEMARI_LINK_PROTOCOL',
      /no entry names/,
      (w) => [w.begin(2n), w.record(2, 2n, Buffer.alloc(9))],
    ],
    [
      'more entries than bytes',
      'KEMARI_LINK_PROTOCOL',
      /names 4294967295 entries/,
      (w) => [w.begin(2n), w.record(2, 2n, u32(0xffffffff, 0))],
    ],
    [
      'PAGES without a head',
      'KEMARI_LINK_PROTOCOL',
      /PAGES has 7 bytes/,
      (w) => [w.begin(2n), w.record(2, 2n, Buffer.alloc(7))],
    ],
    [
      'a device that is none',
      'KEMARI_LINK_PROTOCOL',
      /DEVICE 2 came, there are 2/,
      (w) => [w.begin(2n), w.device(2n, 2, octets(page))],
    ],
    [
      'a place outside memory',
      'KEMARI_LINK_PROTOCOL',
      /1 bytes at 262144 of guest memory, outside its 64 pages/,
      (w) => [w.begin(2n), w.device(2n, 0, { kind: PART.PLACE, address: 64n * 4096n, length: 1 })],
    ],
    [
      'a place that ends outside memory',
      'KEMARI_LINK_PROTOCOL',
      /outside its 64 pages/,
      (w) => [w.begin(2n), w.device(2n, 0, { kind: PART.PLACE, address: 64n * 4096n - 4n, length: 5 })],
    ],
    [
      'a place whose end is beyond all numbers',
      'KEMARI_LINK_PROTOCOL',
      /outside its 64 pages/,
      (w) => [w.begin(2n), w.device(2n, 0, { kind: PART.PLACE, address: 2n ** 64n - 1n, length: 2 })],
    ],
    [
      'a part without octets',
      'KEMARI_LINK_PROTOCOL',
      /no bytes/,
      (w) => [w.begin(2n), w.device(2n, 0, { kind: PART.PLACE, length: 0 })],
    ],
    ['a part of kind 0', 'KEMARI_LINK_PROTOCOL', /unknown kind 0/, (w) => [w.begin(2n), w.device(2n, 0, { kind: 0 })]],
    [
      'a part of an unknown kind',
      'KEMARI_LINK_PROTOCOL',
      /unknown kind 3/,
      (w) => [w.begin(2n), w.device(2n, 0, { kind: 3, data: page })],
    ],
    [
      'octets that have a place as well',
      'KEMARI_LINK_PROTOCOL',
      /bytes and a place/,
      (w) => [w.begin(2n), w.device(2n, 0, { kind: PART.BYTES, address: 4096n, data: page })],
    ],
    [
      'fewer octets than its parts have',
      'KEMARI_LINK_PROTOCOL',
      /DEVICE ends within/,
      (w) => [w.begin(2n), w.device(2n, 0, { kind: PART.BYTES, length: 4097, data: page })],
    ],
    [
      'octets of no part',
      'KEMARI_LINK_PROTOCOL',
      /4096 bytes that no part names/,
      (w) => [w.begin(2n), w.device(2n, 0, { kind: PART.PLACE, length: 4096, data: page })],
    ],
    [
      'more parts than bytes',
      'KEMARI_LINK_PROTOCOL',
      /names 4294967295 parts/,
      (w) => [w.begin(2n), w.record(4, 2n, u32(0, 0xffffffff))],
    ],
    [
      'DEVICE without a head',
      'KEMARI_LINK_PROTOCOL',
      /DEVICE has 7 bytes/,
      (w) => [w.begin(2n), w.record(4, 2n, Buffer.alloc(7))],
    ],
    [
      'a commit of other pages',
      'KEMARI_LINK_PROTOCOL',
      /speaks of 7 pages, 0 came/,
      (w) => [w.begin(2n), w.commit(2n, { pages: 7 })],
    ],
    [
      'a commit of other bytes',
      'KEMARI_LINK_PROTOCOL',
      /not what was sent/,
      (w) => [w.begin(2n), w.commit(2n, { digest: 7 })],
    ],
    ['an ack', 'KEMARI_LINK_PROTOCOL', /ACK/, (w) => [w.record(RECORD.ACK, 1n)]],
    ['an ack within an epoch', 'KEMARI_LINK_PROTOCOL', /ACK/, (w) => [w.begin(2n), w.record(RECORD.ACK, 2n)]],
    ['a word of the standby', 'KEMARI_LINK_PROTOCOL', /other side to say/, (w) => [w.word(5)]],
    ['an unknown word', 'KEMARI_LINK_PROTOCOL', /unknown word 8/, (w) => [w.word(8)]],
    ['word 0', 'KEMARI_LINK_PROTOCOL', /unknown word 0/, (w) => [w.word(0)]],
    ['a word within an epoch', 'KEMARI_LINK_PROTOCOL', /within an epoch/, (w) => [w.begin(2n), w.word(1)]],
    ['a word that is too long', 'KEMARI_LINK_PROTOCOL', /WORD has 1005 bytes/, (w) => [w.word(1, 'x'.repeat(1001))]],
  ];

/** What a primary refuses from its standby, always with KEMARI_LINK_PROTOCOL. */
export const ANSWER_REFUSALS: readonly (readonly [claim: string, text: RegExp, records: Attack])[] = [
  ['an ack of what was not sent', /acknowledged epoch 1, expected/, (w) => [w.record(RECORD.ACK, 1n)]],
  ['a word of the primary', /other side to say/, (w) => [w.word(1)]],
  ['pages', /sent PAGES/, (w) => [w.pages(0n, [{ page: 1, encoding: 2 }])]],
  ['a long record', /has 100000 bytes/, (w) => [w.record(RECORD.MACHINE_STATE, 1n, Buffer.alloc(100000))]],
];
