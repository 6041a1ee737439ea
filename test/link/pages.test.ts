import { randomBytes, randomInt } from 'node:crypto';
import test from 'ava';
import { seededRandom } from './random.js';
import { noise, PAGE_BYTES, Stand } from './stand.js';

const PAGES = 512;

type Random = (below: number) => number;

/** Guest memory of a primary, which the test writes to as a guest would. */
class Guest {
  readonly bytes = Buffer.alloc(PAGES * PAGE_BYTES);

  constructor(readonly random: Random) {}

  page(number: number): Buffer {
    return this.bytes.subarray(number * PAGE_BYTES, (number + 1) * PAGE_BYTES);
  }

  /** Writes to one page in one of the ways guests do. */
  write(number: number): void {
    const page = this.page(number);
    switch (this.random(6)) {
      case 0:
        page.fill(0);
        return;
      case 1:
        for (let at = 0; at < PAGE_BYTES; at += 4) page.writeUInt32LE(this.random(2 ** 32), at);
        return;
      case 2:
        page.fill(`line ${this.random(100)} of some text\n`);
        return;
      case 3:
        return; // written with what it had
      default:
        for (let i = 0; i < 5; i++) page[this.random(PAGE_BYTES)] = this.random(256);
    }
  }

  /** Dirties some pages, in runs, and gives them as a capture would. */
  dirty(): { ranges: [number, number][]; pages: Buffer } {
    const numbers = new Set<number>();
    for (let run = this.random(8); run >= 0; run--) {
      const first = this.random(PAGES);
      for (let page = first; page < Math.min(PAGES, first + 1 + this.random(40)); page++) numbers.add(page);
    }
    const ranges: [number, number][] = [];
    for (const number of [...numbers].sort((a, b) => a - b)) {
      this.write(number);
      const last = ranges.at(-1);
      if (last !== undefined && last[0] + last[1] === number && this.random(10) > 0) last[1]++;
      else ranges.push([number, 1]);
    }
    // Any order is allowed.
    if (this.random(4) === 0) ranges.reverse();
    const parts = ranges.map(([first, count]) => this.bytes.subarray(first * PAGE_BYTES, (first + count) * PAGE_BYTES));
    return { ranges, pages: Buffer.concat(parts) };
  }
}

for (const [name, sender] of [
  ['always made smaller', { compress: 'always' }],
  ['with a cache far too small', { compress: 'always', cacheBytes: 8 * PAGE_BYTES }],
  ['without a cache', { compress: 'always', cacheBytes: 0 }],
  ['as it pays', { compress: 'auto' }],
  ['never made smaller', { compress: 'never' }],
] as const) {
  test(`guest memory of the standby is that of the primary at every epoch, ${name}`, async (t) => {
    const seed = randomInt(2 ** 31);
    t.log(`seed ${seed}`);
    const guest = new Guest(seededRandom(seed));
    const stand = await Stand.of(t, { pageCount: PAGES, sender }).connected();
    for (let round = 0; round < 10; round++) stand.submit({ epoch: 0n, ...guest.dirty() });
    const epochs = 60n;
    for (let epoch = 1n; epoch <= epochs; epoch++) {
      stand.submit({ epoch, ...guest.dirty() });
      if (guest.random(3) > 0) continue;
      await stand.received.first('committed', (event) => event.epoch === epoch);
      // What is applied can be seen once the thread that applies is at its end; a word behind it says so.
      await seen(stand, epoch);
      t.true(Buffer.from(stand.ram.bytes.buffer).equals(guest.bytes), `epoch ${epoch}, seed ${seed}`);
    }
    await stand.received.first('committed', (event) => event.epoch === epochs);
    t.is((await stand.receiver.take()).epoch, epochs);
    t.true(Buffer.from(stand.ram.bytes.buffer).equals(guest.bytes), `seed ${seed}`);
    const { pages, pagesSent, rawBytes, sentBytes } = stand.sender.stats();
    t.is(pages.raw + pages.zero + pages.lz4 + pages.delta, pagesSent);
    t.true(pages.zero > 0 && pages.raw > 0);
    if (sender.compress === 'never') {
      t.is(pages.lz4 + pages.delta + pages.unchanged, 0);
    } else if (sender.compress === 'always') {
      t.true(pages.lz4 > 0 && sentBytes < rawBytes);
      if (!('cacheBytes' in sender)) t.true(pages.delta > 0 && pages.unchanged > 0);
    }
  });
}

/** Waits until the receiver has applied this epoch: it hears a word only after that. */
async function seen(stand: Stand, epoch: bigint): Promise<void> {
  const mark = `after ${epoch}`;
  stand.sender.send('go', mark);
  await stand.received.first('word', (event) => event.text === mark);
}

test('epochs and words come in the order in which they were given', async (t) => {
  const stand = await Stand.of(t).connected();
  for (let epoch = 1n; epoch <= 20n; epoch++) {
    stand.submit({ epoch, ranges: [[Number(epoch), 1]], pages: noise(1) });
    stand.sender.send('goodbye', `after ${epoch}`);
  }
  await stand.received.first('word', (event) => event.text === 'after 20');
  const order = stand.received.events.flatMap((event) =>
    event.type === 'committed' ? [`${event.epoch}`] : event.type === 'word' ? [event.text] : [],
  );
  const expected = Array.from({ length: 20 }, (_, i) => [`${i + 1}`, `after ${i + 1}`]).flat();
  t.deepEqual(order, expected);
});

test('a page that did not change is not sent again, one that changed a little travels as the difference', async (t) => {
  const stand = await Stand.of(t, { sender: { compress: 'always' } }).connected();
  const page = randomBytes(PAGE_BYTES);
  await stand.sync({ epoch: 1n, ranges: [[7, 1]], pages: page });
  const { sentBytes } = stand.sender.stats();
  await stand.sync({ epoch: 2n, ranges: [[7, 1]], pages: page });
  t.is(stand.sender.stats().pages.unchanged, 1);
  page[100]! ^= 1;
  await stand.sync({ epoch: 3n, ranges: [[7, 1]], pages: page });
  const stats = stand.sender.stats();
  t.is(stats.pages.delta, 1);
  t.true(stats.sentBytes - sentBytes < 600, `${stats.sentBytes - sentBytes} bytes`);
  await stand.receiver.take();
  t.deepEqual(stand.ram.page(7), page);
});

test('zero pages take no memory on the standby, and give back what there was', async (t) => {
  const pageCount = 4096;
  const stand = await Stand.of(t, { pageCount }).connected();
  const used = (): number => stand.ram.usedBytes();
  const before = used();
  stand.submit({ epoch: 0n, ranges: [[0, pageCount]], pages: Buffer.alloc(pageCount * PAGE_BYTES) });
  await stand.sync({ epoch: 1n, ranges: [[5, 64]], pages: noise(64) });
  await seen(stand, 1n);
  t.is(used() - before, 64 * PAGE_BYTES);
  const { sentBytes } = stand.sender.stats();
  await stand.sync({ epoch: 2n, ranges: [[0, pageCount]], pages: Buffer.alloc(pageCount * PAGE_BYTES) });
  await seen(stand, 2n);
  t.is(used() - before, 0);
  t.is(stand.sender.stats().pages.zero, 2 * pageCount);
  t.true(stand.sender.stats().sentBytes - sentBytes < 10_000);
});
