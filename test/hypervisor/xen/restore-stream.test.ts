import test from 'ava';
import { restoreStream } from '../../../src/hypervisor/xen/restore-stream.js';
import type { XenDomainShape } from '../../../src/native/xen.js';

const SHAPE: XenDomainShape = {
  frameCount: 0x2000,
  frames: [
    [0, 160],
    [256, 3000],
  ],
  parameters: [
    { index: 0, value: 0x200n }, // the guest's own
    { index: 1, value: 0xfeffcn },
    { index: 2, value: 1n }, // the toolstack's own
    { index: 17, value: 0xfefffn },
    { index: 19, value: 0n },
  ],
  hvmContext: Buffer.alloc(13, 7),
  cpuidPolicy: Buffer.alloc(24, 1),
  msrPolicy: Buffer.alloc(16, 2),
  tsc: { mode: 2, khz: 2_000_000, elapsedNs: 5n, incarnation: 0 },
};

interface Record {
  readonly type: number;
  readonly body: Buffer;
}

/** The records from `offset` up to an end record, and where that ends. */
function records(stream: Buffer, offset: number): { found: Record[]; end: number } {
  const found: Record[] = [];
  let at = offset;
  for (;;) {
    const type = stream.readUInt32LE(at);
    const length = stream.readUInt32LE(at + 4);
    found.push({ type, body: stream.subarray(at + 8, at + 8 + length) });
    at += 8 + Math.ceil(length / 8) * 8;
    if (type === 0) return { found, end: at };
  }
}

function open(stream: Buffer): { configuration: unknown; records: Record[]; rest: Buffer } {
  const optional = stream.readUInt32LE(44);
  const json = stream.toString('utf8', 52, 52 + stream.readUInt32LE(48) - 1);
  const libxl = 48 + optional;
  const { found, end } = records(stream, libxl + 16 + 8 + 24 + 16);
  return { configuration: JSON.parse(json), records: found, rest: stream.subarray(end) };
}

test('xl finds the configuration in JSON, and a libxl stream that holds nothing but a libxc stream', (t) => {
  const stream = restoreStream({ c_info: { name: 'ünique' } }, SHAPE);
  t.is(stream.toString('latin1', 0, 32), 'Xen saved domain, xl format\n \0 \r');
  t.deepEqual(
    [32, 36, 40].map((at) => stream.readUInt32LE(at)),
    [0x01020304, 3, 0],
  );
  const { configuration, rest } = open(stream);
  t.deepEqual(configuration, { c_info: { name: 'ünique' } });
  t.deepEqual(rest, Buffer.alloc(8));
  const libxl = stream.indexOf('LibxlFmt');
  t.is(stream.readUInt32BE(libxl + 8), 2);
  t.is(stream.readUInt32LE(libxl + 16), 1);
});

test('every frame that the guest has is asked for once, and none comes with contents', (t) => {
  const pages = open(restoreStream({}, SHAPE)).records.filter(({ type }) => type === 1);
  const frames = pages.flatMap(({ body }) => {
    const count = body.readUInt32LE(0);
    t.is(body.length, 8 + 8 * count);
    return Array.from({ length: count }, (_, i) => body.readBigUInt64LE(8 + 8 * i));
  });
  t.true(frames.every((frame) => frame >> 60n === 0xen));
  const expected = SHAPE.frames.flatMap(([first, count]) => Array.from({ length: count }, (_, i) => first + i));
  t.deepEqual(
    frames.map((frame) => Number(frame & 0xf_ffff_ffff_ffffn)),
    expected,
  );
});

test('the processor comes before memory, and of the parameters those that the toolstack does not choose', (t) => {
  const { records: found } = open(restoreStream({}, SHAPE));
  t.deepEqual(
    found.map(({ type }) => type).filter((type) => type !== 1),
    [0x11, 0x12, 0x10, 0x08, 0x0a, 0x09, 0],
  );
  t.true(found.findIndex(({ type }) => type === 0x10) < found.findIndex(({ type }) => type === 1));
  const parameters = found.find(({ type }) => type === 0x0a)!.body;
  t.is(parameters.readUInt32LE(0), 2);
  t.deepEqual(
    [8, 24].map((at) => [parameters.readBigUInt64LE(at), parameters.readBigUInt64LE(at + 8)]),
    [
      [1n, 0xfeffcn],
      [17n, 0xfefffn],
    ],
  );
  t.deepEqual(found.find(({ type }) => type === 9)!.body, SHAPE.hvmContext);
});
