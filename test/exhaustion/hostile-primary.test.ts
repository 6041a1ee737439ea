import { once } from 'node:events';
import { Socket } from 'node:net';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import test, { type ExecutionContext } from 'ava';
import { waitUntil } from '../../src/base/deadline.js';
import { destroy } from '../../src/commands/destroy.js';
import { readKey } from '../../src/host/key-file.js';
import { TLS_OPTIONS } from '../../src/wire/secure.js';
import { connectStandby } from '../../src/wire/connect.js';
import { makeNetwork, Subject } from '../capture/subject.js';
import { PlayedPrimary, StandbyHost } from '../commands/restore/played-primary.js';
import { GUEST_MISSING } from '../fixtures/guest-image.js';
import { longGuestTest, missing } from '../fixtures/guest-test.js';
import { processUse } from '../fixtures/process-use.js';
import { ENCODING, RECORD, RecordWriter } from '../link/records.js';

const TEST_TIMEOUT_MS = 240_000;
const PATIENCE_MS = 60_000;
const MEMORY_MIB = 64;
/** What one epoch may take beside guest memory (LinkReceiverOptions.stagingBytes), twice, since what grows is copied. */
const MORE_MIB = 2 * (MEMORY_MIB + 64) + 32;
const DEVICES = 2;
const RENEWAL_MS = 75;
const RENEW = 9;
const PART = Buffer.alloc(1 << 20, 0x5a);
/** Of parts: far beyond what the standby may keep, and what a stream holds back. */
const WITHOUT_END = 1024;
const EPOCHS_WITHOUT_END = 1_000_000;
/** Faster than anybody hears of them one by one. */
const EPOCHS_AT_ONCE = 500;

test.before(() => {
  if (GUEST_MISSING === undefined) makeNetwork();
});

/** Who has the key and the token, and breaks the rules behind them. */
class Intruder {
  readonly write = new RecordWriter();
  readonly #stream: TLSSocket;
  readonly #lease: TLSSocket;
  readonly #renewing: NodeJS.Timeout;
  #heard = Buffer.alloc(0);
  #listens = true;

  private constructor(stream: TLSSocket, lease: TLSSocket) {
    this.#stream = stream;
    this.#lease = lease;
    stream.on('data', (bytes: Buffer) => (this.#heard = Buffer.concat([this.#heard, bytes])));
    const renewals = new RecordWriter();
    let number = 0n;
    this.#renewing = setInterval(() => {
      const payload = Buffer.alloc(8);
      payload.writeBigUInt64LE((number += 1n));
      lease.write(renewals.record(RENEW, 0n, payload));
    }, RENEWAL_MS);
  }

  static async enter(t: ExecutionContext, primary: PlayedPrimary): Promise<Intruder> {
    const { host } = primary;
    const key = readKey(host.keyFile);
    const connection = await connectStandby({
      ...{ address: host.address, security: { kind: 'psk', key }, offer: await primary.offer() },
    });
    const { token } = connection.standby;
    const secure = async (kind: 'stream' | 'lease', fd: number): Promise<TLSSocket> => {
      const identity = `kemari ${kind} ${token}`;
      const socket = connectTls({
        ...{ ...TLS_OPTIONS, socket: new Socket({ fd }), checkServerIdentity: () => undefined },
        pskCallback: () => ({ psk: key, identity }),
      });
      socket.on('error', () => socket.destroy());
      await once(socket, 'secureConnect');
      return socket;
    };
    const intruder = new Intruder(
      await secure('stream', connection.streamFd),
      await secure('lease', connection.leaseFd),
    );
    t.teardown(() => {
      intruder.leave();
    });
    return intruder;
  }

  /** Sends until all is sent or the other side has had enough; no more is queued here than the connection takes. */
  async send(records: Iterable<Uint8Array>): Promise<void> {
    for (const record of records) {
      if (this.#stream.destroyed) return;
      if (this.#stream.write(record)) continue;
      await this.#roomOrEnd();
    }
  }

  #roomOrEnd(): Promise<void> {
    const stream = this.#stream;
    return new Promise((resolve) => {
      const done = (): void => {
        stream.off('drain', done).off('close', done);
        resolve();
      };
      stream.on('drain', done).on('close', done);
    });
  }

  async firstEpoch(): Promise<void> {
    const { write } = this;
    const page = { page: 1, encoding: ENCODING.RAW, data: Buffer.alloc(4096, 0x11) };
    await this.send([write.begin(1n, DEVICES), write.pages(1n, [page]), write.commit(1n)]);
    if (!(await waitUntil(() => this.#heard.length > 0, { timeoutMs: PATIENCE_MS }))) throw new Error('no ack came');
  }

  /** Reads nothing any more. */
  turnAway(): void {
    this.#listens = false;
    this.#stream.pause();
  }

  /** What the standby said last, as letters. */
  get heard(): string {
    if (!this.#listens) this.#stream.resume();
    return this.#heard.toString('latin1');
  }

  leave(): void {
    clearInterval(this.#renewing);
    this.#stream.destroy();
    this.#lease.destroy();
  }
}

function* epochsWithoutEnd(write: RecordWriter): Generator<Buffer> {
  for (let epoch = 2n; epoch < BigInt(EPOCHS_WITHOUT_END);) {
    const records: Uint8Array[] = [];
    for (let left = EPOCHS_AT_ONCE; left > 0; left--, epoch++) {
      records.push(write.begin(epoch, DEVICES), write.commit(epoch));
    }
    yield Buffer.concat(records);
  }
}

function* checkpointWithoutEnd(write: RecordWriter): Generator<Buffer> {
  yield write.begin(2n, DEVICES);
  for (let part = 0; part < WITHOUT_END; part++) yield write.record(RECORD.MACHINE_STATE, 2n, PART);
}

interface Attack {
  readonly claim: string;
  readonly code: RegExp;
  readonly records: (write: RecordWriter) => Iterable<Uint8Array>;
}

const ATTACKS: readonly Attack[] = [
  { claim: 'sends an old epoch', code: /KEMARI_LINK_PROTOCOL/, records: (w) => [w.begin(1n, DEVICES)] },
  { claim: 'leaves an epoch out', code: /KEMARI_LINK_PROTOCOL/, records: (w) => [w.begin(7n, DEVICES)] },
  {
    claim: 'announces a record of 4 GiB',
    code: /KEMARI_LINK_PROTOCOL/,
    records: (w) => [w.record(RECORD.MACHINE_STATE, 2n, Buffer.alloc(0), { length: 0xffff_ffff })],
  },
  { claim: 'never ends a checkpoint', code: /KEMARI_LINK_MEMORY/, records: checkpointWithoutEnd },
];

/** A standby with an epoch, and who sent it. */
async function enterWithEpoch(
  t: ExecutionContext,
): Promise<{ host: StandbyHost; subject: Subject; intruder: Intruder }> {
  const host = await StandbyHost.start(t);
  const subject = await Subject.create({ memoryMib: MEMORY_MIB });
  t.teardown(() => subject.close());
  const intruder = await Intruder.enter(t, new PlayedPrimary(subject, host));
  await intruder.firstEpoch();
  return { host, subject, intruder };
}

/** Sends until `ended`, or the standby is no domain any more, and says how that went. */
async function attack(
  t: ExecutionContext,
  { host, intruder }: { host: StandbyHost; intruder: Intruder },
  records: Iterable<Uint8Array>,
  ended: () => boolean = () => false,
): Promise<void> {
  const { dmPid } = await host.info();
  const before = processUse(dmPid).anonKib;
  let most = before;
  let gone = false as boolean;
  const watching = waitUntil(
    async () => {
      try {
        // A process that is ending has no memory any more, and says nothing of it.
        most = Math.max(most, processUse(dmPid).anonKib || 0);
      } catch {
        gone = true; // it has ended
      }
      return ended() || (gone && (await host.domain()) === undefined);
    },
    { timeoutMs: PATIENCE_MS, everyMs: 2 },
  );
  // Where it neither reads on nor ends, what it has logged is what counts.
  await Promise.race([intruder.send(records), watching]);
  t.true(await watching, `the standby stays:\n${host.log('subject')}`);
  t.log(`at most ${((most - before) / 1024).toFixed(0)} MiB more`);
  t.true((most - before) / 1024 < MORE_MIB, `${(most - before) / 1024} MiB more`);
  t.notRegex(host.log('subject'), /KEMARI_INTERNAL|takes over|SIGSEGV|Assertion/);
}

for (const { claim, code, records } of ATTACKS) {
  longGuestTest(
    `a primary with the key that ${claim} is told so and forgotten, and takes no memory without end${missing}`,
    async (t) => {
      t.timeout(TEST_TIMEOUT_MS);
      const { host, subject, intruder } = await enterWithEpoch(t);
      await attack(t, { host, intruder }, records(intruder.write));
      t.regex(host.log('subject'), code);
      t.regex(intruder.heard, /broke the protocol|may keep beside guest memory/);
      // The next one is served as if nothing had been.
      await (await Intruder.enter(t, new PlayedPrimary(subject, host))).firstEpoch();
    },
  );
}

longGuestTest(
  `a primary with the key that floods with epochs and hears no ack loses its link, and takes no memory without end${missing}`,
  async (t) => {
    t.timeout(TEST_TIMEOUT_MS);
    const { host, subject, intruder } = await enterWithEpoch(t);
    const unread = (): boolean => host.log('subject').includes('does not read what it is sent [KEMARI_LINK_SOCKET]');
    intruder.turnAway();
    await attack(t, { host, intruder }, epochsWithoutEnd(intruder.write), unread);
    // Which comes first is a race: too many epochs to tell of break the protocol, too many acks that nobody reads do
    // not: that primary may have died, and the standby keeps what it has until it is told.
    if (unread()) {
      intruder.leave();
      await destroy(host.registry.host.root, 'subject', () => undefined);
    } else {
      t.regex(host.log('subject'), /KEMARI_LINK_PROTOCOL/);
    }
    t.true(await waitUntil(async () => (await host.domain()) === undefined, { timeoutMs: PATIENCE_MS }));
    await (await Intruder.enter(t, new PlayedPrimary(subject, host))).firstEpoch();
  },
);
