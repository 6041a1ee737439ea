import { once } from 'node:events';
import { Socket } from 'node:net';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import test, { type ExecutionContext } from 'ava';
import { waitUntil } from '../../src/base/deadline.js';
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
  readonly deaf?: true;
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
  {
    claim: 'floods with epochs and hears no ack',
    code: /KEMARI_LINK_(PROTOCOL|SOCKET)/,
    records: epochsWithoutEnd,
    deaf: true,
  },
];

for (const { claim, code, records, deaf } of ATTACKS) {
  longGuestTest(
    `a primary with the key that ${claim} is told so and forgotten, and takes no memory without end${missing}`,
    async (t) => {
      t.timeout(TEST_TIMEOUT_MS);
      const host = await StandbyHost.start(t);
      const subject = await Subject.create({ memoryMib: MEMORY_MIB });
      t.teardown(() => subject.close());
      const intruder = await Intruder.enter(t, new PlayedPrimary(subject, host));
      await intruder.firstEpoch();
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
          return gone && (await host.domain()) === undefined;
        },
        { timeoutMs: PATIENCE_MS, everyMs: 2 },
      );
      if (deaf === true) intruder.turnAway();
      await intruder.send(records(intruder.write));
      t.true(await watching, `the standby stays:\n${host.log('subject')}`);
      t.regex(host.log('subject'), code);
      t.log(`at most ${((most - before) / 1024).toFixed(0)} MiB more`);
      t.true((most - before) / 1024 < MORE_MIB, `${(most - before) / 1024} MiB more`);
      if (deaf !== true) t.regex(intruder.heard, /broke the protocol|may keep beside guest memory/);
      t.notRegex(host.log('subject'), /KEMARI_INTERNAL|takes over|SIGSEGV|Assertion/);
      // The next one is served as if nothing had been.
      await (await Intruder.enter(t, new PlayedPrimary(subject, host))).firstEpoch();
    },
  );
}
