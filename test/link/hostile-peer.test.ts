import { closeSync } from 'node:fs';
import test, { type ExecutionContext } from 'ava';
import { addon } from '../../src/native/addon.js';
import type { LinkReceiver, LinkReceiverOptions, ReceiverEvent, SenderEvent } from '../../src/native/link.js';
import { testing } from '../native/testing.js';
import { crc32c, ENCODING, lz4Page, octets, PART, RECORD, RecordWriter } from './records.js';
import { ANSWER_REFUSALS, REFUSALS } from './refusals.js';
import { Heard, makeReceiver, makeSender, PAGE_BYTES, StandbyRam } from './stand.js';

const PAGES = 64;

/** A receiver whose primary is the test, byte by byte; plain, so that nothing but the receiver's own checks is in the way. */
class HostilePrimary {
  readonly ram = new StandbyRam(PAGES);
  readonly heard = new Heard<ReceiverEvent>();
  readonly receiver: LinkReceiver;
  readonly write = new RecordWriter();
  readonly #stream: number;
  readonly #lease: number;
  #ended = false;
  #closed = false;

  /** One that is closed when the test ends. */
  static of(t: ExecutionContext, more: Partial<LinkReceiverOptions> = {}): HostilePrimary {
    const stand = new HostilePrimary(more);
    t.teardown(async () => {
      await stand.close();
    });
    return stand;
  }

  private constructor(more: Partial<LinkReceiverOptions>) {
    const [streamA, streamB] = addon.socketPair();
    const [leaseA, leaseB] = addon.socketPair();
    this.#stream = streamA;
    this.#lease = leaseA;
    this.receiver = makeReceiver(streamB, leaseB, this.ram.fd, this.heard, { key: undefined, ...more });
  }

  send(...records: readonly Uint8Array[]): void {
    for (const record of records) testing.sendMessage(this.#stream, record, []);
  }

  /** Commits epoch 1: page 1 is 0x11, page 2 is 0x22, everything else nothing. */
  async firstEpoch(): Promise<void> {
    const { write } = this;
    this.send(write.begin(1n));
    this.send(
      write.pages(1n, [
        { page: 1, encoding: ENCODING.LZ4, data: lz4Page(0x11) },
        { page: 2, encoding: ENCODING.RAW, data: Buffer.alloc(PAGE_BYTES, 0x22) },
      ]),
    );
    this.send(write.commit(1n));
    await this.heard.first('committed');
  }

  /** What the receiver has said, as it stands in the socket. */
  read(): Buffer {
    return testing.receiveMessage(this.#stream, 65536, 5000)?.bytes ?? Buffer.alloc(0);
  }

  /** Closes the primary's side. */
  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    closeSync(this.#stream);
    closeSync(this.#lease);
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.end();
    await this.receiver.close();
    this.ram.close();
  }
}

function isFirstEpoch(ram: StandbyRam): boolean {
  for (let page = 0; page < PAGES; page++) {
    const value = page === 1 ? 0x11 : page === 2 ? 0x22 : 0;
    if (!ram.page(page).equals(Buffer.alloc(PAGE_BYTES, value))) return false;
  }
  return true;
}

/** Epoch 2 with every kind of record and of page, small. */
function secondEpoch(write: RecordWriter): Buffer[] {
  const after = Buffer.alloc(PAGE_BYTES, 0x11 ^ 0x77);
  return [
    write.begin(2n),
    write.record(RECORD.MACHINE_STATE, 2n, Buffer.from('machine')),
    write.device(
      2n,
      0,
      octets(Buffer.from('disk')),
      // A page of this epoch, which comes later, and one of the epoch before; the second begins within a page.
      { kind: PART.PLACE, address: BigInt(40 * PAGE_BYTES), length: 3 },
      { kind: PART.PLACE, address: BigInt(41 * PAGE_BYTES - 2), length: 4 },
      octets(Buffer.from('end')),
    ),
    write.record(RECORD.CONSOLE, 2n, Buffer.from('hello')),
    write.pages(
      2n,
      [
        { page: 1, encoding: ENCODING.DELTA, data: lz4Page(0x77) },
        { page: 2, encoding: ENCODING.ZERO, count: 20 },
        { page: 40, encoding: ENCODING.LZ4, data: lz4Page(0x44) },
      ],
      crc32c(after),
    ),
    write.record(0x8123, 2n, Buffer.from('an optional record of a later version')),
    write.commit(2n),
  ];
}

/** Whether memory is that of the last of the two epochs. */
function isSecondEpoch(ram: StandbyRam): boolean {
  for (let page = 0; page < PAGES; page++) {
    const value = page === 1 ? 0x11 ^ 0x77 : page === 40 ? 0x44 : 0;
    if (!ram.page(page).equals(Buffer.alloc(PAGE_BYTES, value))) return false;
  }
  return true;
}

test('an epoch of every kind of record is applied; an unknown optional one is skipped', async (t) => {
  const stand = HostilePrimary.of(t);
  await stand.firstEpoch();
  stand.send(...secondEpoch(stand.write), stand.write.word(1, 'go\x07 on'));
  const word = await stand.heard.first('word');
  t.is(word.word, 'go');
  t.is(word.text, 'go? on');
  const taken = await stand.receiver.take();
  t.is(taken.epoch, 2n);
  t.deepEqual(taken.machineState, Buffer.from('machine'));
  t.deepEqual(taken.devices, [Buffer.from('diskDDDDD\0\0end'), Buffer.alloc(0)]);
  t.deepEqual(taken.console, Buffer.from('hello'));
  t.true(isSecondEpoch(stand.ram));
});

test('a stream that is cut at any byte of an epoch leaves guest memory at the epoch before', async (t) => {
  const sample = new RecordWriter();
  sample.begin(1n);
  const length = Buffer.concat(secondEpoch(sample)).length;
  t.true(length > 450 && length < 700, `${length}`);
  for (let cut = 0; cut < length; cut++) {
    const stand = HostilePrimary.of(t);
    await stand.firstEpoch();
    stand.send(Buffer.concat(secondEpoch(stand.write)).subarray(0, cut));
    stand.end();
    const lost = await stand.heard.first('lost');
    t.is(lost.code, 'KEMARI_LINK_CLOSED');
    const taken = await stand.receiver.take();
    if (taken.epoch !== 1n || !isFirstEpoch(stand.ram)) t.fail(`cut at ${cut}`);
    await stand.close();
  }
});

test('an epoch with any bit turned is refused, and guest memory stays at the epoch before', async (t) => {
  const sample = new RecordWriter();
  sample.begin(1n);
  const length = Buffer.concat(secondEpoch(sample)).length;
  for (let place = 0; place < length; place++) {
    const stand = HostilePrimary.of(t);
    await stand.firstEpoch();
    const bytes = Buffer.concat(secondEpoch(stand.write));
    bytes[place]! ^= 1 << (place % 8);
    stand.send(bytes);
    stand.end();
    const lost = await stand.heard.first('lost');
    const taken = await stand.receiver.take();
    if (taken.epoch !== 1n || !isFirstEpoch(stand.ram)) t.fail(`bit turned in byte ${place}: ${lost.code}`);
    await stand.close();
  }
  t.pass();
});

for (const [claim, code, text, records] of REFUSALS) {
  test(`${claim} is refused, and guest memory stays as it is`, async (t) => {
    const stand = HostilePrimary.of(t);
    await stand.firstEpoch();
    stand.send(...records(stand.write));
    const lost = await stand.heard.first('lost');
    t.is(lost.code, code, lost.text);
    t.regex(lost.text, text);
    t.is((await stand.receiver.take()).epoch, 1n);
    t.true(isFirstEpoch(stand.ram));
  });
}

test('an epoch that needs more than the standby may keep is refused, and it can still say so', async (t) => {
  const stand = HostilePrimary.of(t, { stagingBytes: 10 * PAGE_BYTES });
  await stand.firstEpoch();
  const { write } = stand;
  stand.send(write.begin(2n));
  for (let at = 10; at < 20; at++)
    stand.send(write.pages(2n, [{ page: at, encoding: ENCODING.RAW, data: Buffer.alloc(PAGE_BYTES, 1) }]));
  const lost = await stand.heard.first('lost');
  t.is(lost.code, 'KEMARI_LINK_MEMORY', lost.text);
  t.true(stand.receiver.stats().stagedBytesPeak <= 10 * PAGE_BYTES);
  t.is((await stand.receiver.take()).epoch, 1n);
  t.true(isFirstEpoch(stand.ram));
  stand.receiver.send('refused', lost.text);
  t.true(stand.read().includes('epoch 2 needs more'));
});

test('an epoch of many places in memory is refused like one of as many octets', async (t) => {
  const stand = HostilePrimary.of(t, { stagingBytes: 10 * PAGE_BYTES });
  await stand.firstEpoch();
  const { write } = stand;
  const place = { kind: PART.PLACE, address: 0n, length: 2 * PAGE_BYTES };
  stand.send(write.begin(2n), write.device(2n, 0, ...Array.from({ length: 6 }, () => place)));
  const lost = await stand.heard.first('lost');
  t.is(lost.code, 'KEMARI_LINK_MEMORY', lost.text);
  t.is((await stand.receiver.take()).epoch, 1n);
  t.true(isFirstEpoch(stand.ram));
});

test('pages sent ahead are applied as they come, and again', async (t) => {
  const stand = HostilePrimary.of(t);
  const { write } = stand;
  stand.send(write.pages(0n, [{ page: 3, encoding: ENCODING.RAW, data: Buffer.alloc(PAGE_BYTES, 1) }]));
  stand.send(write.pages(0n, [{ page: 3, encoding: ENCODING.LZ4, data: lz4Page(9) }]));
  stand.send(write.pages(0n, [{ page: 1, count: 60, encoding: ENCODING.ZERO }]));
  await stand.firstEpoch();
  await stand.receiver.take();
  t.true(isFirstEpoch(stand.ram));
});

test('a primary that says more than can be heard loses the link, and takes no memory without end', async (t) => {
  const stand = HostilePrimary.of(t);
  // This thread is the one that hears: while it sends, it does not.
  const words = Array.from({ length: 4200 }, () => stand.write.word(1, 'x'.repeat(100)));
  stand.send(Buffer.concat(words));
  const lost = await stand.heard.first('lost');
  t.is(lost.code, 'KEMARI_LINK_PROTOCOL');
  t.regex(lost.text, /more than this side can hear/);
  // 4096 wait at a time, and what this thread took meanwhile.
  t.true(stand.heard.events.length < words.length, `${stand.heard.events.length}`);
});

test('nothing to take over before the first epoch', async (t) => {
  const stand = HostilePrimary.of(t);
  await t.throwsAsync(stand.receiver.take(), { code: 'KEMARI_NO_EPOCH' });
});

test('only what was committed can be acknowledged, once', async (t) => {
  const stand = HostilePrimary.of(t);
  t.throws(
    () => {
      stand.receiver.ack(1n);
    },
    { code: 'KEMARI_ARGUMENT' },
  );
  await stand.firstEpoch();
  t.throws(
    () => {
      stand.receiver.ack(2n);
    },
    { code: 'KEMARI_ARGUMENT' },
  );
  stand.receiver.ack(1n);
  t.throws(
    () => {
      stand.receiver.ack(1n);
    },
    { code: 'KEMARI_ARGUMENT' },
  );
});

for (const [claim, text, records] of ANSWER_REFUSALS) {
  test(`a primary refuses ${claim} from its standby`, async (t) => {
    const heard = new Heard<SenderEvent>();
    const [streamA, streamB] = addon.socketPair();
    const [leaseA, leaseB] = addon.socketPair();
    const sender = makeSender(streamA, leaseA, heard, { key: undefined });
    for (const record of records(new RecordWriter())) testing.sendMessage(streamB, record, []);
    const lost = await heard.first('lost');
    t.is(lost.code, 'KEMARI_LINK_PROTOCOL');
    t.regex(lost.text, text);
    await sender.close();
    closeSync(streamB);
    closeSync(leaseB);
  });
}
