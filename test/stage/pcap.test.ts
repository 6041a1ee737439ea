import test from 'ava';
import { PcapReader, type CapturedFrame } from '../../src/stage/pcap.js';

const MAC = Buffer.from('00163e770002', 'hex');

function fileHeader(magic = 0xa1b23c4d, linkType = 276): Buffer {
  const header = Buffer.alloc(24);
  header.writeUInt32LE(magic, 0);
  header.writeUInt32LE(linkType, 20);
  return header;
}

function record(atMs: number, interfaceIndex: number, etherType: number, packet: Buffer): Buffer {
  const header = Buffer.alloc(16);
  header.writeUInt32LE(Math.floor(atMs / 1000), 0);
  header.writeUInt32LE((atMs % 1000) * 1_000_000, 4);
  const sll2 = Buffer.alloc(20);
  sll2.writeUInt16BE(etherType, 0);
  sll2.writeUInt32BE(interfaceIndex, 4);
  MAC.copy(sll2, 12);
  header.writeUInt32LE(sll2.length + packet.length, 8);
  return Buffer.concat([header, sll2, packet]);
}

function arp(senderIp: string, targetIp: string): Buffer {
  const packet = Buffer.alloc(28);
  Buffer.from(senderIp.split('.').map(Number)).copy(packet, 14);
  Buffer.from(targetIp.split('.').map(Number)).copy(packet, 24);
  return packet;
}

test('a capture is read whole, however its bytes arrive', (t) => {
  const segment = Buffer.alloc(60, 7);
  const request = arp('10.77.0.2', '10.77.0.1');
  const own = arp('10.77.0.2', '10.77.0.2');
  const reverse = arp('0.0.0.0', '0.0.0.0');
  const bytes = Buffer.concat([
    fileHeader(),
    record(1_700_000_000_125, 3, 0x0800, segment),
    record(1_700_000_000_250, 4, 0x0806, request),
    record(1_700_000_000_375, 4, 0x0806, own),
    record(1_700_000_000_500, 4, 0x8035, reverse),
  ]);
  const common = { sourceMac: '00:16:3e:77:00:02', announcement: false };
  const expected: CapturedFrame[] = [
    { ...common, atMs: 1_700_000_000_125, interfaceIndex: 3, etherType: 0x0800, head: segment.subarray(0, 44) },
    { ...common, atMs: 1_700_000_000_250, interfaceIndex: 4, etherType: 0x0806, head: request },
    { ...common, atMs: 1_700_000_000_375, interfaceIndex: 4, etherType: 0x0806, head: own, announcement: true },
    { ...common, atMs: 1_700_000_000_500, interfaceIndex: 4, etherType: 0x8035, head: reverse, announcement: true },
  ];
  for (const step of [1, 7, bytes.length]) {
    const frames: CapturedFrame[] = [];
    const reader = new PcapReader((frame) => frames.push(frame), 44);
    for (let at = 0; at < bytes.length; at += step) reader.push(bytes.subarray(at, at + step));
    t.deepEqual(frames, expected, `${step} bytes at a time`);
  }
});

test('another kind of capture is refused', (t) => {
  const reader = (): PcapReader => new PcapReader(() => undefined, 44);
  t.throws(
    () => {
      reader().push(fileHeader(0xa1b2c3d4));
    },
    { message: /expected SLL2 with nanoseconds/ },
  );
  t.throws(
    () => {
      reader().push(fileHeader(0xa1b23c4d, 1));
    },
    { message: /link type 1;/ },
  );
});
