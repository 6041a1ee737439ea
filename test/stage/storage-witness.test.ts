import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import test from 'ava';
import { NbdStream, type NbdChange } from '../../src/stage/nbd-stream.js';
import { waitUntil } from '../../src/base/deadline.js';
import { StorageWitness } from '../../src/stage/storage-witness.js';
import { StorageHost } from '../../src/stage/storage-host.js';
import { TcpStream } from '../../src/stage/tcp-stream.js';
import { TwoHosts } from '../../src/stage/two-hosts.js';
import { nowMs } from '../../src/stage/wall-clock.js';

const staged = process.getuid?.() === 0 ? test.serial : test.serial.skip;
const missing = process.getuid?.() === 0 ? '' : ' [needs root]';
const TIMEOUT_MS = 20_000;

function option(number: number, data: Buffer): Buffer {
  const header = Buffer.alloc(16);
  header.write('IHAVEOPT');
  header.writeUInt32BE(number, 8);
  header.writeUInt32BE(data.length, 12);
  return Buffer.concat([header, data]);
}

function request(command: number, offset: number, length: number, data: Buffer = Buffer.alloc(0)): Buffer {
  const header = Buffer.alloc(28);
  header.writeUInt32BE(0x25609513, 0);
  header.writeUInt16BE(command, 6);
  header.writeBigUInt64BE(BigInt(offset), 16);
  header.writeUInt32BE(length, 24);
  return Buffer.concat([header, data]);
}

test('what an NBD client changes is read from its bytes, however they arrive', (t) => {
  // Data that looks like a request is none.
  const data = request(4, 1, 2, Buffer.alloc(100, 0x25));
  const bytes = Buffer.concat([
    Buffer.from([0, 0, 0, 3]),
    option(7, Buffer.from('root')),
    request(0, 0, 4096),
    request(1, 8192, data.length, data),
    request(3, 0, 0),
    request(4, 512, 1024),
    request(6, 2 ** 40, 4096),
  ]);
  const expected: NbdChange[] = [
    { kind: 'w', offset: 8192, length: data.length },
    { kind: 'f', offset: 0, length: 0 },
    { kind: 'd', offset: 512, length: 1024 },
    { kind: 'z', offset: 2 ** 40, length: 4096 },
  ];
  for (const step of [1, 7, 29, bytes.length]) {
    const changes: NbdChange[] = [];
    const stream = new NbdStream((change) => changes.push(change));
    for (let at = 0; at < bytes.length; at += step) stream.push(bytes.subarray(at, at + step), 0);
    t.deepEqual(changes, expected, `${step} bytes at a time`);
  }
  const wrong = new NbdStream(() => undefined);
  t.throws(
    () => {
      wrong.push(Buffer.from('GET / HTTP/1.1'), 0);
    },
    { instanceOf: RangeError },
  );
});

test('segments that come again, overlap or overtake each other are put in order', (t) => {
  const heard: [string, number][] = [];
  const stream = new TcpStream(2 ** 32 - 2, (bytes, atMs) => heard.push([bytes.toString(), atMs]));
  const push = (sequence: number, text: string, atMs: number): void => {
    stream.push({ sequence, payload: Buffer.from(text) }, atMs);
  };
  push(2 ** 32 - 2, 'ab', 1);
  push(3, 'fg', 2);
  push(2 ** 32 - 1, 'bcd', 3);
  push(2, 'ef', 4);
  push(0, 'cd', 5);
  t.deepEqual(heard, [
    ['ab', 1],
    ['cd', 3],
    ['ef', 4],
    ['g', 2],
  ]);
});

staged(`what a host writes to storage is witnessed, with the host and the time${missing}`, async (t) => {
  const stage = await TwoHosts.up('test-storage-witness', { owned: true });
  try {
    const witness = await StorageWitness.start(stage.machines.storage);
    await stage.storage.serve([await stage.storage.emptyImage('disk', 1 << 20)]);
    const fromMs = nowMs();
    for (const host of ['A', 'B'] as const) {
      const commands = [`write -P ${host === 'A' ? 1 : 2} 8k 4k`, 'flush'].flatMap((command) => ['-c', command]);
      const [program, ...args] = stage.machines[host].command([
        ...['qemu-io', '-f', 'raw', '-t', 'writeback'],
        ...[...commands, StorageHost.uri('disk')],
      ]);
      await promisify(execFile)(program, args);
    }
    t.true(await waitUntil(() => witness.changes.length >= 4, { timeoutMs: TIMEOUT_MS }), JSON.stringify(witness));
    t.is(await witness.stop(), undefined);
    const { changes } = witness;
    const written = { kind: 'w', offset: 8192, length: 4096 } as const;
    for (const host of ['A', 'B'] as const) {
      const own = changes.filter((change) => change.host === host);
      t.like(own[0], written);
      t.true(own.some(({ kind }) => kind === 'f'));
      t.true(own.every(({ atMs }) => atMs >= fromMs && atMs <= nowMs()));
    }
  } finally {
    await stage.down();
  }
});
