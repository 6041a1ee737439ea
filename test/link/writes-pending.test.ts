import test from 'ava';
import { Stand } from './stand.js';

/** RequestKind of addon/ring/ring_state.h. */
const KINDS = { write: 1, flush: 2, discard: 3, zeroes: 4, read: 6 } as const;
const BYTES = { write: 512, flush: 0, discard: 16, zeroes: 16, read: 0 } as const;

/** A disk's part of a checkpoint, as ring_state.h lays it out, with these requests pending. */
function diskCut(...pending: readonly (keyof typeof KINDS)[]): Buffer {
  const head = Buffer.alloc(36);
  head.write('KRNG');
  head.writeUInt16LE(4, 4);
  head.writeUInt8(1, 6);
  head.writeUInt32LE(1, 16);
  head.writeUInt32LE(1, 20);
  const queue = Buffer.alloc(16);
  queue.writeUInt16LE(8, 4);
  queue.writeUInt16LE(pending.length, 6);
  queue.writeUInt16LE(pending.length, 14);
  const requests = pending.map((kind, index) => {
    const request = Buffer.alloc(40 + 12 + BYTES[kind]);
    request.writeUInt16LE(index, 0);
    request.writeUInt8(KINDS[kind], 2);
    request.writeUInt8(2, 3);
    request.writeUInt32LE(1, 4);
    request.writeBigUInt64LE(kind === 'read' ? 0n : BigInt(index + 1), 8);
    request.writeBigUInt64LE(BigInt(BYTES[kind]), 24);
    request.writeBigUInt64LE(4096n, 40);
    request.writeUInt32LE(1, 48);
    return request;
  });
  return Buffer.concat([head, queue, ...requests, Buffer.alloc(4)]);
}

/** The same, of a disk that has lost a write with its connection. */
function withLostWrite(cut: Buffer): Buffer {
  cut.writeUInt32LE(1, 24);
  return cut;
}

test('a standby is told whether an epoch holds writes that the primary may have with its storage', async (t) => {
  const stand = await Stand.of(t, { receiver: { deviceCount: 1 }, sender: { deviceCount: 1 } }).connected();
  const cases = [
    [diskCut(), false],
    [diskCut('read', 'flush'), false],
    [diskCut('read', 'write'), true],
    [diskCut('discard'), true],
    [diskCut('zeroes'), true],
    [withLostWrite(diskCut()), true],
    [withLostWrite(diskCut('read')), true],
    [diskCut(), false],
    [Buffer.from('what cannot be read'), true],
  ] as const;
  for (const [index, [device, expected]] of cases.entries()) {
    const epoch = BigInt(index + 1);
    await stand.sync({ epoch, devices: [device] });
    const committed = await stand.received.first('committed', (event) => event.epoch === epoch);
    t.is(committed.writesPending, expected, `case ${index}`);
  }
});
