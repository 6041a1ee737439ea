import test from 'ava';
import type { HostName } from '../../src/stage/names.js';
import type { WitnessedFrame } from '../../src/stage/witness.js';
import { Evidence } from './chain/evidence.js';

/** What looks for frames that left too early: it has to find one that was planted. */

const ETHER_TYPE_IPV4 = 0x0800;
const MAC = '00:16:3e:77:00:02';

/** A TCP segment with this sequence number; checksums differ where `checksum` does. */
function packet(number: number, checksum = 0): Buffer {
  const bytes = Buffer.alloc(40);
  bytes[0] = 0x45;
  bytes.writeUInt16BE(40, 2);
  bytes[9] = 6;
  bytes.writeUInt16BE(checksum, 10);
  bytes.writeUInt32BE(number, 24);
  bytes.writeUInt16BE(checksum, 36);
  return bytes;
}

function noted(number: number): string {
  const ethernet = Buffer.alloc(14);
  ethernet.writeUInt16BE(ETHER_TYPE_IPV4, 12);
  return Buffer.concat([ethernet, packet(number)]).toString('hex');
}

function seen(host: HostName, atMs: number, number: number): WitnessedFrame {
  const head = Buffer.concat([packet(number, 0xbeef), Buffer.alloc(4)]);
  return { atMs, host, sourceMac: MAC, announcement: false, etherType: ETHER_TYPE_IPV4, head };
}

/** A line, its time in milliseconds. */
function at(ms: number, rest: string): string {
  return `${ms}000000 ${rest}`;
}

/** Protected on host A from 10 on: frame 1 passed before, frame 2 is held at 20, cut at 21, acknowledged at 23 and 24. */
function protectedOnA(more: readonly string[] = [], sent: readonly string[] = [at(23, 'ack-sent 5 0')]): Evidence {
  const evidence = new Evidence();
  const before = [at(5, `passed 1 ${noted(1)}`), at(10, 'closed 1 0'), at(20, `held 2 ${noted(2)}`)];
  evidence.add('A', '100', [...before, at(21, 'cut 5 2'), at(24, 'ack-heard 5 0'), ...more]);
  evidence.add('B', '200', sent);
  return evidence;
}

test('frames that left after their ack, or while nothing was promised, are in order', (t) => {
  const verdict = protectedOnA().judge([seen('A', 6, 1), seen('A', 25, 2)]);
  t.deepEqual(verdict, { acknowledged: 1, free: 1, violations: [] });
});

test('a frame that left before its ack was heard is found', (t) => {
  const { violations } = protectedOnA().judge([seen('A', 23.5, 2)]);
  t.is(violations.length, 1);
  t.regex(violations[0]!, /^a frame from host A at 23\.500: number 2 left before the ack of its epoch, 5, was heard$/);
});

test('a frame that left upon an ack that no standby sent, or sent later, is found', (t) => {
  for (const sent of [[], ['24500000 ack-sent 5 0'], [at(23, 'ack-sent 4 0')]]) {
    t.regex(
      protectedOnA([], sent)
        .judge([seen('A', 30, 2)])
        .violations.join(),
      /an ack of epoch 5 that nobody sent/,
    );
  }
});

test('a frame that no epoch covers is found, and so is one whose epoch was never acknowledged', (t) => {
  const held = at(30, `held 3 ${noted(3)}`);
  t.regex(
    protectedOnA([held])
      .judge([seen('A', 40, 3)])
      .violations.join(),
    /no epoch covers it/,
  );
  t.regex(
    protectedOnA([held, at(31, 'cut 6 3')])
      .judge([seen('A', 40, 3)])
      .violations.join(),
    /before the ack of its epoch, 6/,
  );
});

test('a frame that passed a closed gate is found', (t) => {
  const verdict = protectedOnA([at(30, `passed 3 ${noted(3)}`)]).judge([seen('A', 31, 3)]);
  t.regex(verdict.violations.join(), /number 3 passed a gate that was closed/);
});

test('a frame that no gate of its host saw is found, and so is one that was seen twice', (t) => {
  t.regex(
    protectedOnA()
      .judge([seen('B', 25, 2)])
      .violations.join(),
    /no gate of this host saw it/,
  );
  t.is(protectedOnA().judge([seen('A', 25, 2), seen('A', 26, 2)]).violations.length, 1);
});

test('what is held leaves without an ack once the gate has opened, and not before', (t) => {
  const lines = [at(30, `held 3 ${noted(3)}`), at(40, 'opened 3 0'), at(41, `passed 4 ${noted(4)}`)];
  t.deepEqual(protectedOnA(lines).judge([seen('A', 40.5, 3), seen('A', 42, 4)]).violations, []);
  t.is(protectedOnA(lines).judge([seen('A', 39, 3)]).violations.length, 1);
});

test('what was held before its gate closed was promised nothing', (t) => {
  const evidence = new Evidence();
  evidence.add('A', '100', [at(10, `held 1 ${noted(1)}`), at(12, 'closed 1 0'), at(13, 'cut 1 1')]);
  t.deepEqual(evidence.judge([seen('A', 11, 1)]), { acknowledged: 0, free: 1, violations: [] });
});

test('a later ack covers earlier epochs, and acks of another protection cover none', (t) => {
  const evidence = new Evidence();
  const first = [at(10, 'closed 0 0'), at(11, `held 1 ${noted(1)}`), at(12, 'cut 1 1'), at(13, 'cut 2 1')];
  const second = [at(20, 'opened 1 0'), at(21, 'closed 1 0'), at(22, `held 2 ${noted(2)}`), at(23, 'cut 1 2')];
  evidence.add('A', '100', [...first, at(15, 'ack-heard 2 0'), ...second]);
  evidence.add('B', '200', [at(14, 'ack-sent 2 0')]);
  const { acknowledged, violations } = evidence.judge([seen('A', 16, 1), seen('A', 30, 2)]);
  t.is(acknowledged, 1);
  t.regex(violations.join(), /number 2 left before the ack of its epoch, 1/);
});

test('a file that holds anything else is refused', (t) => {
  t.throws(() => protectedOnA([at(30, 'released 2 0')]), { message: /no line of evidence/ });
});

/** A write of 4096 bytes at 8192 that the guest made at 30 and that an epoch covers, acknowledged at 33. */
const WRITE = { kind: 'w', offset: 8192, length: 4096 } as const;
const WRITTEN = [at(30, 'disk-held 3 w:8192:4096'), at(31, 'cut 6 3'), at(33, 'ack-heard 6 0')];
const SENT = [at(23, 'ack-sent 5 0'), at(32, 'ack-sent 6 0')];

test('a write that reached storage after its ack is in order, and one that came before it is found', (t) => {
  const judge = (atMs: number) => protectedOnA(WRITTEN, SENT).judgeChanges([{ ...WRITE, host: 'A', atMs }]);
  t.deepEqual(judge(33.5), { acknowledged: 1, free: 0, violations: [] });
  const { violations } = judge(32.5);
  t.is(violations.length, 1);
  t.regex(
    violations[0]!,
    /^a request of storage \(w:8192:4096\) from host A at 32\.500: number 3 left before the ack of its epoch, 6,/,
  );
});

test('a write that no gate saw, at another place, of another length or kind, or twice, is found', (t) => {
  const others = [{ offset: 4096 }, { length: 512 }, { kind: 'z' }, { host: 'B' }] as const;
  for (const other of others) {
    const { violations } = protectedOnA(WRITTEN, SENT).judgeChanges([{ ...WRITE, host: 'A', atMs: 40, ...other }]);
    t.regex(violations.join(), /no gate of this host saw it/);
  }
  const change = { ...WRITE, host: 'A', atMs: 40 } as const;
  t.is(protectedOnA(WRITTEN, SENT).judgeChanges([change, change]).violations.length, 1);
});

test('a flush and a discard are held to the same, and a long write may come in pieces', (t) => {
  const MIB = 1 << 20;
  const lines = [at(30, 'disk-held 3 f:0:0'), at(30, 'disk-held 4 d:4096:8192'), at(30, `disk-held 5 w:0:${MIB}`)];
  const evidence = protectedOnA([...lines, at(31, 'cut 6 5'), at(33, 'ack-heard 6 0')], SENT);
  const pieces = [0, 1, 2, 3].map((piece) => ({ kind: 'w', offset: (piece * MIB) / 4, length: MIB / 4 }) as const);
  const changes = [{ kind: 'f', offset: 0, length: 0 } as const, { kind: 'd', offset: 4096, length: 8192 } as const];
  const judge = (atMs: number) =>
    evidence.judgeChanges([...changes, ...pieces].map((change) => ({ ...change, host: 'A', atMs })));
  t.is(judge(32).violations.length, 6);
  t.deepEqual(judge(34), { acknowledged: 6, free: 0, violations: [] });
});
